"""One machine: starts the whole stack, reports its status, and stops it."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sluicegate.registry.words.errors import NotFound, Unreachable
from sluicegate.registry.words.program import Condition, ProgramState
from sluicegate.registry.words.settings import Settings
from sluicegate.services import durable
from sluicegate.services.heartbeat import Heartbeats
from sluicegate.services.host.folder import StateFolder
from sluicegate.services.host.installation import (
    CONSOLE,
    MLFLOW,
    PREFECT,
    RELAY,
    Site,
    client_environment,
    envoy_of,
    gateway_names,
    is_gateway,
    make_site,
    read_site,
)
from sluicegate.services.host.keys import Keys, load_keys, make_keys
from sluicegate.services.host.parts import Part
from sluicegate.services.host.ports import choose_ports, read_ports
from sluicegate.services.host.prefect_setup.deploying import Deploying, deploy_environment
from sluicegate.services.host.prefect_setup.deployments import Packaged
from sluicegate.services.host.programs.replacing import take_over_survivors
from sluicegate.services.host.programs.supervising import Supervisor
from sluicegate.services.host.programs.watching import silent
from sluicegate.services.host.raising import Mark, OnProgress, Progress, Step, raise_stack
from sluicegate.services.host.stack import WORKER, auth_file, auth_text, base_environment
from sluicegate.services.host.webhook import Webhook

_LOCK_SECONDS = 600.0


def port_owners(gateways: int = 1, *, relays: bool = False) -> Mapping[str, str]:
    """The program that listens on each port, by the port's name."""
    envoys = {name: envoy_of(name) for name in gateway_names(gateways)}
    return {MLFLOW: MLFLOW, PREFECT: PREFECT, **envoys, CONSOLE: "console", **({RELAY: RELAY} if relays else {})}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a machine runs, and the functions that it needs for that."""

    folder: StateFolder
    environment: Mapping[str, str]
    """The environment of `up`, which names foreign servers and their credentials."""
    draw: Callable[[int], bytes]
    """Returns random bytes for secrets."""
    parts: Callable[[Site, Keys], Sequence[Part]]
    """Returns all parts: `stack(...)` and Sluicegate's own."""
    prepare: Callable[[Site], None]
    """Writes the files that parts read. Called by `up` before it starts any of them."""
    drain: Callable[[Site], None]
    """Lets the data plane finish its requests. Called by `down` when nothing can change routes any more."""
    retire: Callable[[str], None] = lambda _: None
    """Called by `up` before it stops a program that is no longer part of the stack."""
    stop_first: tuple[str, ...] = (WORKER, "keeper")
    """Programs that `down` stops first, because they could start others."""
    packaged: Packaged | None = None
    """The deployments to register in Prefect."""
    template: Mapping[str, Any] | None = None
    """The job template with which Prefect's work pool creates Kubernetes Jobs; None: runs are processes of this
    machine."""

    def registering(self, packaged: Packaged, site: Site, keys: Keys, *, always: bool = False) -> Deploying:
        """The step that registers deployments at the Prefect server of `site`."""
        clients = client_environment(site, keys, self.environment)
        environment = deploy_environment(base_environment(self.environment), clients, self.folder, keys.state_token)
        return Deploying(
            self.folder, environment, packaged, after=(PREFECT,), always=always, template=self.template
        )  # fmt: skip


WELL = (Condition.STARTING, Condition.RUNNING, Condition.STOPPING)
"""The conditions of a program that works as it should."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """The status of the machine."""

    state: Path
    supervisor: int | None
    """The supervisor's pid; None if nothing runs."""
    urls: Mapping[str, str]
    programs: tuple[ProgramState, ...]
    at: datetime
    survivors: tuple[str, ...] = ()
    """Programs that are still running after their supervisor was killed."""
    silent: Mapping[str, float] = field(default_factory=dict)
    """Running programs without a heartbeat, with the seconds since the last one."""

    @property
    def is_up(self) -> bool:
        """Whether there are programs and all of them work. A service that starts or drains counts as working."""
        well = [state.condition in WELL for state in self.programs]
        return self.supervisor is not None and bool(well) and all(well) and not self.silent


class Machine:
    """The stack of one state folder."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._folder = recipe.folder

    def up(self, on_progress: OnProgress, *, seconds: float, gateways: int | None = None) -> Site:
        """Start all programs that do not run as defined, and wait until everything is ready.

        `gateways` is their number; None: as many as before.

        Raises ServiceFailed or TimedOut with the end of the relevant log, InvalidSetting, Refused.
        """
        self._folder.prepare()
        with self._folder.locked("up", seconds=_LOCK_SECONDS, on_wait=_note(on_progress)):
            keys = make_keys(self._folder.secrets, self._recipe.draw)
            supervisor = Supervisor(self._folder, keys.state_token)
            survivors = supervisor.processes()
            is_fresh = supervisor.start(base_environment(self._recipe.environment))
            site = self._site(supervisor, survivors, gateways)
            parts = self._recipe.parts(site, keys)
            self._drop_former(supervisor, parts)
            if is_fresh:
                take_over_survivors(supervisor, survivors, but={part.name for part in parts}, note=_note(on_progress))
            self._write_files()
            self._recipe.prepare(site)
            self._hand_over(supervisor, parts, on_progress)
            raise_stack(supervisor, parts, self._steps(site, keys, parts), on_progress, seconds=seconds)
            for name in supervisor.sweep():
                _note(on_progress)(f"ended {name}, which an earlier supervisor had left")
            return site

    def down(self, on_progress: OnProgress) -> bool:
        """Drain, then stop everything that this folder's `up` started, and nothing else; False if nothing was
        running."""
        try:
            keys = load_keys(self._folder.secrets)
        except NotFound:
            return False
        with self._folder.locked("up", seconds=_LOCK_SECONDS, on_wait=_note(on_progress)):
            supervisor = Supervisor(self._folder, keys.state_token)
            if not supervisor.processes():
                return False
            try:
                for name in self._recipe.stop_first:
                    supervisor.remove(name)
                _note(on_progress)("draining")
                self._recipe.drain(read_site(self._folder))
            finally:
                supervisor.stop()
                self._former_file.unlink(missing_ok=True)
            return True

    def status(self, now: datetime) -> Status:
        """The present status, without changing or waiting for anything. Raises NotFound if `up` has never run."""
        site = read_site(self._folder)
        supervisor = Supervisor(self._folder, load_keys(self._folder.secrets).state_token)
        down = Status(state=self._folder.root, supervisor=None, urls=site.urls(), programs=(), at=now)
        try:
            programs = supervisor.standing()
            quiet = silent(Heartbeats(folder=self._folder.beats), programs, now)
            return replace(down, supervisor=supervisor.pid(), programs=programs, silent=quiet)
        except Unreachable:
            return replace(down, survivors=tuple(sorted(supervisor.processes())))

    def environment(self) -> dict[str, str]:
        """The environment for a shell that uses this installation. Raises NotFound."""
        site = read_site(self._folder)
        return client_environment(site, load_keys(self._folder.secrets), self._recipe.environment)

    def _hand_over(self, supervisor: Supervisor, parts: Sequence[Part], on_progress: OnProgress) -> None:
        """Let changed parts take over from the running ones, if they can."""
        environment = base_environment(self._recipe.environment)
        for part in parts:
            if part.handover is not None and supervisor.hand_over(part.program, part.handover, environment):
                _note(on_progress)(f"{part.name} has changed: the new one has replaced the old one")

    def _site(self, supervisor: Supervisor, survivors: Collection[str], gateways: int | None) -> Site:
        running = {state.name for state in supervisor.running() if state.pid} | set(survivors)
        recorded = self._folder.run / "ports.json"
        before = sum(map(is_gateway, read_ports(recorded)))
        owners = port_owners(gateways or before or 1, relays=Settings.read(self._recipe.environment).listen is not None)
        in_use = {port for port, owner in owners.items() if owner in running}
        ports = choose_ports(recorded, tuple(owners), in_use=in_use)
        return make_site(self._folder, ports, self._recipe.environment)

    def _steps(self, site: Site, keys: Keys, parts: Sequence[Part]) -> tuple[Step, ...]:
        clients = client_environment(site, keys, self._recipe.environment)
        names = {part.name for part in parts}
        webhook = (Webhook(site, keys, clients),) if {MLFLOW, CONSOLE} <= names else ()
        packaged = self._recipe.packaged
        deploying = (self._recipe.registering(packaged, site, keys),) if packaged is not None else ()
        return (*deploying, *webhook)

    def _write_files(self) -> None:
        for name in (MLFLOW, PREFECT):
            (self._folder.root / name).mkdir(mode=0o700, exist_ok=True)
        durable.replace(auth_file(self._folder), auth_text(self._folder), mode=durable.PRIVATE)

    def _drop_former(self, supervisor: Supervisor, parts: Sequence[Part]) -> None:
        """Stop parts of an earlier `up` that are no longer part of the stack, such as our own MLflow server."""
        names = {part.name for part in parts}
        try:
            former = set(json.loads(self._former_file.read_text()))
        except (OSError, ValueError):
            former = set()
        for name in sorted(former - names):
            self._recipe.retire(name)
            supervisor.remove(name)
        durable.replace(self._former_file, json.dumps(sorted(names)), mode=durable.PRIVATE)

    @property
    def _former_file(self) -> Path:
        return self._folder.run / "parts.json"


def _note(on_progress: OnProgress) -> Callable[[str], None]:
    return lambda text: on_progress(Progress(mark=Mark.NOTE, name="", text=text))
