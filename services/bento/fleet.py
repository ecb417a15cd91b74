"""Fleet: the services of builds on this machine; started, found again, probed, drained and stopped."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.rollout.facts import Packed
from sluicegate.registry.words.build import BuildRef, Endpoint, service_name
from sluicegate.registry.words.errors import ServiceFailed
from sluicegate.registry.words.program import Condition, Program, ProgramState
from sluicegate.services.bento.body_capture import capture_environment
from sluicegate.services.bento.process_environment import bare_environment
from sluicegate.services.bento.readiness import last_traceback, probe
from sluicegate.services.bento.service_record import ServiceRecord, read_record
from sluicegate.services.bento.stage_times import StageTimes, read_stage_times
from sluicegate.services.bento.store import BentoStore
from sluicegate.services.bento.virtual_environments import VirtualEnvironments
from sluicegate.services.loopback import own_folder, socket_path

_SERVING = Path(__file__).parent / "serving.py"
_STOP_MARGIN = 5.0
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""A row is too little work for several threads; a service that shall use more cores has more workers."""
_SETTLE_SECONDS = 30.0
"""A service that ends sooner has not started; after `_RETRIES` of these in a row it is given up."""
_RETRIES = 3
_LOAD_FAILURES = 2
"""A service whose model cannot be loaded ends and is started again; twice is no accident."""
_GONE = (Condition.STOPPED, Condition.STOPPING)


class Programs(Protocol):
    """What the fleet needs from the process supervisor: long-lived processes by name."""

    def add(self, program: Program) -> None:
        """Run this program from now on. One that already runs just so is left alone."""
        ...

    def remove(self, name: str) -> None:
        """End the program's whole process tree and forget it. Nothing happens when it is not there."""
        ...

    def running(self) -> Sequence[ProgramState]:
        """Every program there is. Raises Unreachable."""
        ...


class Fleet:
    """The services under one folder. It keeps nothing in memory: any process may hold one."""

    def __init__(self, home: Path, *, bentos: Path, programs: Programs) -> None:
        """`home` is where services live, `bentos` the folder that the packer was given."""
        self._home = home
        self._store = BentoStore(bentos / "store")
        self._environments = VirtualEnvironments(bentos / "envs")
        self._programs = programs

    def start(self, build: BuildRef, packed: Packed, serve: Serve) -> None:
        """Start a service, or do nothing when it runs. Raises PackFailed where the bento is not what was packed."""
        folder = self._folder(build)
        for mine in (self._home, self._socket(build).parent):
            own_folder(mine)
        had = read_record(folder)
        if build not in self.running():
            self._store.verify(packed.bento, bento_digest=packed.bento_digest, model_digest=packed.model_digest)
            had = self._begin(build, packed)
        if had is None or (had.bento, had.env) != (packed.bento, packed.env):
            raise ServiceFailed(f"{build} runs from another bento.", fix="Stop it first.")
        self._programs.add(self._program(had, serve))

    def _begin(self, build: BuildRef, packed: Packed) -> ServiceRecord:
        record = ServiceRecord(
            model=build.model,
            version=build.version,
            socket=str(self._socket(build)),
            bento=packed.bento,
            env=packed.env,
        )
        self._lay_out(self._folder(build))
        self._load_failures(build).unlink(missing_ok=True)
        record.write(self._folder(build))
        return record

    def stop(self, build: BuildRef) -> None:
        """Drain and stop a service; returns when no process of it is left."""
        self._programs.remove(service_name(build))
        self._socket(build).unlink(missing_ok=True)
        shutil.rmtree(self._folder(build), ignore_errors=True)

    def endpoints(self) -> Mapping[BuildRef, Endpoint]:
        """Where every started service answers or will answer."""
        return {record.ref: record.endpoint for record in self._records()}

    def running(self) -> frozenset[BuildRef]:
        """Every service that was started and not stopped, healthy or not."""
        conditions = {state.name: state.condition for state in self._programs.running()}
        return frozenset(
            record.ref
            for record in self._records()
            if conditions.get(service_name(record.ref), Condition.STOPPED) not in _GONE
        )

    def probe(self, build: BuildRef) -> str | None:
        """None when the service is ready and answers the model's own example, else what is wrong.

        Raises ServiceFailed, with the traceback, where the example is an error to the model.
        """
        record = read_record(self._folder(build))
        if record is None:
            return f"{build} was not started"
        try:
            return probe(record.endpoint, self._store.model(record.bento))
        except ServiceFailed as error:
            raise ServiceFailed(f"{error.message}{last_traceback(self._log(build))}") from None

    def stage_times(self, build: BuildRef) -> tuple[StageTimes, ...]:
        """Where the time of requests goes inside a service; nothing for one that is not here."""
        return read_stage_times(build, self._times(build))

    def gave_up(self, build: BuildRef) -> str | None:
        """Why the service cannot run, when restarting it has been given up."""
        name, path = service_name(build), self._load_failures(build)
        failures = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        state = next((state for state in self._programs.running() if state.name == name), None)
        has_failed = state is not None and state.condition is Condition.FAILED
        if len(failures) >= _LOAD_FAILURES or (failures and has_failed):
            return f"the model cannot be loaded: {failures[-1]}"
        return f"its process ended again and again; see {state.log}" if state and has_failed else None

    def clean(self, now: datetime, *, unused_days: float = 14.0) -> tuple[str, ...]:
        """Delete the logs of services that are not here and were last written so long ago; returns their names."""
        here = {service_name(record.ref) for record in self._records()}
        oldest = now.timestamp() - unused_days * 86_400
        removed = [
            path
            for path in sorted(self._log_folder.glob("*.log*"))
            if path.name.partition(".log")[0] not in here and path.stat().st_mtime < oldest
        ]
        for path in removed:
            path.unlink(missing_ok=True)
        return tuple(path.name for path in removed)

    @property
    def _log_folder(self) -> Path:
        return self._home / "logs"

    def _log(self, build: BuildRef) -> Path:
        return self._log_folder / f"{service_name(build)}.log"

    def _folder(self, build: BuildRef) -> Path:
        return self._home / service_name(build)

    def _load_failures(self, build: BuildRef) -> Path:
        """Where the predictor writes a line whenever the model could not be loaded."""
        return self._folder(build) / "load-failures.txt"

    def _times(self, build: BuildRef) -> Path:
        """Where the workers of a service count where the time goes."""
        return self._folder(build) / "times"

    def _records(self) -> list[ServiceRecord]:
        records = (read_record(path.parent) for path in sorted(self._home.glob("*/service.json")))
        return [record for record in records if record is not None]

    def _socket(self, build: BuildRef) -> Path:
        """Where it answers: named by a digest, as a socket's path must be short and a model's name need not."""
        return socket_path(self._home, hashlib.sha256(service_name(build).encode()).hexdigest()[:12])

    def _lay_out(self, folder: Path) -> None:
        """A BentoML home of its own, whose stores are the shared ones: two services in one home spoil each other."""
        (folder / "times").mkdir(parents=True, exist_ok=True)
        home = folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        for store in ("bentos", "models"):
            link = home / store
            if not link.is_symlink():
                link.symlink_to((self._store.home / store).resolve())

    def _program(self, record: ServiceRecord, serve: Serve) -> Program:
        folder = self._folder(record.ref)
        python = self._environments.python(record.env)
        if not python.exists():
            raise ServiceFailed(
                f"{python}, which runs this build, does not exist any more.", fix="Pack the build again."
            )
        grace = math.ceil(serve.timeout)
        command = (
            str(python), "-I", str(_SERVING), record.socket, str(serve.workers), str(grace), record.bento,
        )  # fmt: skip
        return Program(
            name=service_name(record.ref),
            command=command,
            cwd=folder,
            log=self._log(record.ref),
            env=bare_environment(os.environ)
            | _ONE_THREAD
            | {
                "BENTOML_HOME": str(folder / "home"),
                "BENTO_WORKERS": str(serve.workers),
                "BENTO_TIMEOUT_SECONDS": str(serve.timeout),
                "BENTO_BATCH_ROWS": str(serve.batch),
                "BENTO_LOAD_FAILURES": str(self._load_failures(record.ref)),
                "PROMETHEUS_MULTIPROC_DIR": str(self._times(record.ref)),
                **capture_environment(serve.capture, self._home),
            },
            stop_seconds=grace + _STOP_MARGIN,
            settle_seconds=_SETTLE_SECONDS,
            retries=_RETRIES,
        )
