"""Fleet: the services of builds on this machine; started, found again, probed, drained and stopped."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from registry.build import BuildRef, Endpoint, service_name
from registry.errors import ServiceFailed
from registry.facts import Packed
from registry.plan import Serve
from registry.program import Condition, Program
from services.bento.environments import Environments
from services.bento.probing import probe
from services.bento.programs import Programs
from services.bento.quiet import quiet
from services.bento.service_record import LOOPBACK, ServiceRecord, free_port, is_free, read_record
from services.bento.store import BentoStore

_STOP_MARGIN = 5.0
_GONE = (Condition.STOPPED, Condition.STOPPING)


class Fleet:
    """The services under one folder. It keeps nothing in memory: any process may hold one."""

    def __init__(self, home: Path, *, bentos: Path, programs: Programs) -> None:
        """`home` is where services live, `bentos` the folder that the packer was given."""
        self._home = home
        self._store = BentoStore(bentos / "store")
        self._environments = Environments(bentos / "envs")
        self._programs = programs

    def start(self, build: BuildRef, packed: Packed, serve: Serve) -> None:
        """Start a service, or do nothing when it runs. Raises PackFailed where the bento is not what was packed."""
        folder = self._folder(build)
        if build not in self.running():
            self._store.verify(packed.bento, bento_digest=packed.bento_digest, model_digest=packed.model_digest)
        record = ServiceRecord(
            model=build.model, version=build.version, port=self._port(build), bento=packed.bento, env=packed.env
        )
        self._lay_out(folder)
        record.write(folder)
        self._programs.add(self._program(record, serve))

    def stop(self, build: BuildRef) -> None:
        """Drain and stop a service; returns when no process of it is left."""
        self._programs.remove(service_name(build))
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
        """None when the service is ready and answers the model's own example, else what is wrong."""
        record = read_record(self._folder(build))
        if record is None:
            return f"{build} was not started"
        return probe(record.endpoint.address, self._store.model(record.bento))

    def gave_up(self, build: BuildRef) -> str | None:
        """Why the service cannot run, when restarting it has been given up."""
        name = service_name(build)
        for state in self._programs.running():
            if state.name == name and state.condition is Condition.FAILED:
                return f"its process ended again and again; see {state.log}"
        return None

    def _folder(self, build: BuildRef) -> Path:
        return self._home / service_name(build)

    def _records(self) -> list[ServiceRecord]:
        found = [read_record(path.parent) for path in sorted(self._home.glob("*/service.json"))]
        return [record for record in found if record is not None]

    def _port(self, build: BuildRef) -> int:
        """The port it had, while that is its own or free; else a new one."""
        known = {record.ref: record.port for record in self._records()}
        had = known.pop(build, None)
        if had is not None and (build in self.running() or is_free(had)):
            return had
        return free_port(frozenset(known.values()))

    def _lay_out(self, folder: Path) -> None:
        """A BentoML home of its own, whose stores are the shared ones: two services in one home spoil each other."""
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
            raise ServiceFailed(f"{python} is gone.", fix="Pack the build again.")
        grace = math.ceil(serve.timeout)
        command = (
            str(python), "-m", "bentoml", "serve", record.bento, "--host", LOOPBACK, "--port", str(record.port),
            "--timeout-graceful-shutdown", str(grace),
        )  # fmt: skip
        return Program(
            name=service_name(record.ref),
            command=command,
            cwd=folder,
            log=self._home / "logs" / f"{service_name(record.ref)}.log",
            env=quiet(os.environ)
            | {
                "BENTOML_HOME": str(folder / "home"),
                "BENTO_WORKERS": str(serve.workers),
                "BENTO_TIMEOUT_SECONDS": str(serve.timeout),
            },
            stop_seconds=grace + _STOP_MARGIN,
        )
