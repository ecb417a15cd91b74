"""Fleet: the services of builds on this machine, with their replicas. Starts, finds, probes, drains and stops them."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.rollout.facts import Packed
from sluicegate.registry.words.build import BuildRef, Endpoint, Endpoints, replica_name
from sluicegate.registry.words.errors import ServiceFailed
from sluicegate.registry.words.program import Condition, Program, ProgramState
from sluicegate.services.bento.body_capture import capture_environment
from sluicegate.services.bento.process_environment import bare_environment, memory_of_worker, serving_environment
from sluicegate.services.bento.readiness import example_in, hangs, is_alive, last_traceback, probe
from sluicegate.services.bento.service_record import ServiceRecord, is_open, read_record
from sluicegate.services.bento.stage_times import StageTimes, read_stage_times
from sluicegate.services.bento.store import BentoStore
from sluicegate.services.bento.stores.shared import SharedStore, is_whole
from sluicegate.services.bento.virtual_environments import VirtualEnvironments
from sluicegate.services.locking import locked
from sluicegate.services.loopback import own_folder, socket_path

_SERVING = Path(__file__).parent / "serving.py"
_STOP_MARGIN = 5.0
_SETTLE_SECONDS = 30.0
"""A service that ends sooner counts as not started. After `_RETRIES` of these in a row it is given up."""
_RETRIES = 3
_LOAD_FAILURES = 2
"""Number of failed loads after which a service is given up. One may be an accident; it is started again."""
_GONE = (Condition.STOPPED, Condition.STOPPING)


class Programs(Protocol):
    """The process supervisor as the fleet uses it: long-lived processes by name."""

    def add(self, program: Program) -> None:
        """Run this program from now on. Does nothing if it already runs with the same definition."""
        ...

    def remove(self, name: str) -> None:
        """End the program's whole process tree and forget it. Does nothing if there is no such program."""
        ...

    def running(self) -> Sequence[ProgramState]:
        """All programs. Raises Unreachable."""
        ...


class Fleet:
    """The services under one folder. Keeps no state in memory, so any process may use one."""

    def __init__(
        self,
        home: Path,
        *,
        bentos: Path,
        programs: Programs,
        shared: SharedStore | None = None,
    ) -> None:
        """`home`: the folder of the services. `bentos`: the packer's folder.

        `shared`: the store with bentos that another machine packed; None if all are packed into `bentos`.
        """
        self._home = home
        self._store = BentoStore(bentos / "store")
        self._environments = VirtualEnvironments(bentos / "envs")
        self._programs = programs
        self._locks = bentos / "locks"
        self._shared = shared

    def lacks(self, packed: Packed) -> bool:
        """Whether the bento must still be fetched from the shared store."""
        if self._shared is None:
            return False
        return not (is_whole(packed, self._store) and self._environments.has(packed.env))

    def fetch(self, packed: Packed) -> None:
        """Fetch the bento and its environment to this machine. Blocks as long as the store's limits allow.

        Raises NotFound, StoreUnavailable, ServiceFailed, and PackFailed if it is not what was packed.
        """
        if self._shared is None:
            return
        self._shared.get(packed, self._store)
        if not self._environments.has(packed.env):
            with locked(self._locks, "environments"):
                self._environments.ensure_for(self._store.model(packed.bento), packed.env)

    def start(self, build: BuildRef, packed: Packed, serve: Serve) -> None:
        """Start replicas until as many run as the plan asks for. Those that run stay as they are.

        Raises PackFailed if the bento is not what was packed.
        """
        for mine in (self._home, self._socket(build, 1).parent):
            own_folder(mine)
        conditions = self._conditions()
        for number in range(1, serve.replicas + 1):
            record = read_record(self._folder(build, number))
            if record is None or not _is_here(record, conditions):
                self._store.verify(packed.bento, bento_digest=packed.bento_digest, model_digest=packed.model_digest)
                record = self._begin(build, number, packed)
            if (record.bento, record.env) != (packed.bento, packed.env):
                raise ServiceFailed(f"{build} runs from another bento.", fix="Stop it first.")
            if record.is_leaving:
                record = replace(record, is_leaving=False)
                record.write(self._folder(build, number))
            self._programs.add(self._program(record, serve))

    def _begin(self, build: BuildRef, number: int, packed: Packed) -> ServiceRecord:
        folder = self._folder(build, number)
        record = ServiceRecord(
            model=build.model,
            version=build.version,
            socket=str(self._socket(build, number)),
            bento=packed.bento,
            env=packed.env,
            replica=number,
        )
        self._lay_out(folder)
        _load_failures(folder).unlink(missing_ok=True)
        record.write(folder)
        return record

    def retire(self, build: BuildRef, keep: int) -> None:
        """Stop sending requests to the replicas beyond the first `keep`. They keep answering until `dismiss`."""
        for record in self._replicas(build):
            if record.replica > keep:
                replace(record, is_leaving=True).write(self._folder(build, record.replica))

    def dismiss(self, build: BuildRef) -> None:
        """Stop the retired replicas. Returns when none of their processes is left."""
        for record in self._replicas(build):
            if record.is_leaving:
                self._end(record)

    def mend(self, build: BuildRef, hanging: Collection[Endpoint] = ()) -> None:
        """Stop replicas that were given up or hang; all others keep answering. `start` replaces them."""
        states = {state.name: state for state in self._programs.running()}
        for record in self._replicas(build):
            if record.endpoint in hanging or self._why(record, states.get(record.name)) is not None:
                self._end(record)

    def stop(self, build: BuildRef) -> None:
        """Drain and stop every replica. Returns when none of their processes is left."""
        for record in self._replicas(build):
            self._end(record)

    def _end(self, record: ServiceRecord) -> None:
        self._programs.remove(record.name)
        Path(record.socket).unlink(missing_ok=True)
        shutil.rmtree(self._folder(record.ref, record.replica), ignore_errors=True)

    def endpoints(self) -> Endpoints:
        """The endpoints of each started service's open replicas, without retired ones; if none is open yet, of all."""
        return {
            ref: tuple(each.endpoint for each in _open(records) or records) for ref, records in self._staying().items()
        }

    def leaving(self) -> frozenset[BuildRef]:
        """Builds that have retired replicas."""
        return frozenset(record.ref for record in self._records() if record.is_leaving)

    def running(self) -> Mapping[BuildRef, int]:
        """For each service, how many replicas were started and neither stopped nor retired, healthy or not."""
        conditions = self._conditions()
        here = (each for each in self._records() if _is_here(each, conditions) and not each.is_leaving)
        return Counter(record.ref for record in here)

    def replicas(self) -> Mapping[BuildRef, tuple[int, int]]:
        """For each service with several replicas: how many answer now, and how many are planned.

        Blocks for seconds if one hangs.
        """
        return {
            build: (sum(is_alive(each.endpoint) for each in records), records[-1].replica)
            for build, records in self._staying().items()
            if records[-1].replica > 1
        }

    def probe(self, build: BuildRef) -> str | None:
        """What is wrong; None if every replica is ready and answers the model's own example.

        Raises ServiceFailed, with the traceback, if the model fails on its example.
        """
        replicas = self._replicas(build)
        if not replicas:
            return f"{build} was not started"
        for record in replicas:
            try:
                why = probe(record.endpoint, example_in(self._store.model(record.bento)))
            except ServiceFailed as error:
                raise ServiceFailed(f"{error.message}{last_traceback(self._log(record))}") from None
            if why is not None:
                return why if len(replicas) == 1 else f"replica {record.replica} of {len(replicas)}: {why}"
        return None

    def hanging(self, build: BuildRef) -> frozenset[Endpoint]:
        """The endpoints of replicas that accept requests but do not answer their liveness check. Blocks for seconds."""
        return frozenset(each.endpoint for each in self._replicas(build) if hangs(each.endpoint))

    def ready(self, build: BuildRef) -> frozenset[Endpoint]:
        """The endpoints of ready replicas: the model is loaded and the managing process lives. Sends no request."""
        staying = self._staying().get(build, ())
        return frozenset(each.endpoint for each in staying if is_open(each, self._folder(build, each.replica)))

    def stage_times(self, build: BuildRef) -> tuple[StageTimes, ...]:
        """How long requests spend in each stage of the service; empty if it is not here."""
        return read_stage_times(build, [_times(self._folder(build, each.replica)) for each in self._replicas(build)])

    def gave_up(self, build: BuildRef) -> str | None:
        """Why a replica cannot run, if restarting it was given up; None otherwise."""
        states = {state.name: state for state in self._programs.running()}
        reasons = (self._why(record, states.get(record.name)) for record in self._replicas(build))
        return next((why for why in reasons if why is not None), None)

    def _why(self, record: ServiceRecord, state: ProgramState | None) -> str | None:
        path = _load_failures(self._folder(record.ref, record.replica))
        failures = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        has_failed = state is not None and state.condition is Condition.FAILED
        if len(failures) >= _LOAD_FAILURES or (failures and has_failed):
            return f"the model cannot be loaded: {failures[-1]}"
        return f"its process keeps ending; see {state.log}" if state and has_failed else None

    def clean(self, now: datetime, *, unused_days: float = 14.0) -> tuple[str, ...]:
        """Delete logs of services that are not here, if not written for `unused_days`. Returns the deleted names."""
        present = {record.name for record in self._records()}
        oldest = now.timestamp() - unused_days * 86_400
        removed = [
            path
            for path in sorted(self._log_folder.glob("*.log*"))
            if path.name.partition(".log")[0] not in present and path.stat().st_mtime < oldest
        ]
        for path in removed:
            path.unlink(missing_ok=True)
        return tuple(path.name for path in removed)

    @property
    def _log_folder(self) -> Path:
        return self._home / "logs"

    def _log(self, record: ServiceRecord) -> Path:
        return self._log_folder / f"{record.name}.log"

    def _folder(self, build: BuildRef, number: int) -> Path:
        return self._home / replica_name(build, number)

    def _records(self) -> list[ServiceRecord]:
        records = (read_record(path.parent) for path in self._home.glob("*/service.json"))
        return sorted(filter(None, records), key=lambda record: (str(record.ref), record.replica))

    def _staying(self) -> dict[BuildRef, list[ServiceRecord]]:
        """The replicas of each service, by number, without retired ones."""
        by_build: dict[BuildRef, list[ServiceRecord]] = {}
        for record in self._records():
            if not record.is_leaving:
                by_build.setdefault(record.ref, []).append(record)
        return by_build

    def _replicas(self, build: BuildRef) -> list[ServiceRecord]:
        return [record for record in self._records() if record.ref == build]

    def _conditions(self) -> Mapping[str, Condition]:
        return {state.name: state.condition for state in self._programs.running()}

    def _socket(self, build: BuildRef, number: int) -> Path:
        """The replica's socket, named by a digest: a socket's path must be short, and a model's name may be long."""
        name = replica_name(build, number)
        return socket_path(self._home, hashlib.sha256(name.encode()).hexdigest()[:12])

    def _lay_out(self, folder: Path) -> None:
        """Create the replica's own BentoML home, with links to the common stores. Two services in one home conflict."""
        _times(folder).mkdir(parents=True, exist_ok=True)
        home = folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        for store in ("bentos", "models"):
            link = home / store
            if not link.is_symlink():
                link.symlink_to((self._store.home / store).resolve())

    def _program(self, record: ServiceRecord, serve: Serve) -> Program:
        folder = self._folder(record.ref, record.replica)
        python = self._environments.python(record.env)
        if not python.exists():
            raise ServiceFailed(
                f"{python}, which runs this build, does not exist any more.", fix="Pack the build again."
            )
        grace = math.ceil(serve.timeout)
        command = (
            str(python), "-I", str(_SERVING), record.socket, str(serve.workers), str(grace), record.bento,
            *memory_of_worker(serve),
        )  # fmt: skip
        return Program(
            name=record.name,
            command=command,
            cwd=folder,
            log=self._log(record),
            env=bare_environment(os.environ)
            | serving_environment(
                serve,
                home=str(folder / "home"),
                load_failures=str(_load_failures(folder)),
                times=str(_times(folder)),
            )
            | capture_environment(serve.capture, self._home),
            stop_seconds=grace + _STOP_MARGIN,
            settle_seconds=_SETTLE_SECONDS,
            retries=_RETRIES,
        )


def _is_here(record: ServiceRecord, conditions: Mapping[str, Condition]) -> bool:
    return conditions.get(record.name, Condition.STOPPED) not in _GONE


def _open(records: Sequence[ServiceRecord]) -> list[ServiceRecord]:
    """The replicas whose socket exists, because a worker has answered there."""
    return [record for record in records if Path(record.socket).exists()]


def _times(folder: Path) -> Path:
    """The folder in which a replica's workers count stage times."""
    return folder / "times"


def _load_failures(folder: Path) -> Path:
    """The file to which the predictor adds a line whenever the model cannot be loaded."""
    return folder / "load-failures.txt"
