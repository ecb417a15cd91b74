"""One machine: bring the whole stack up, say how it is, take it down."""

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
    """Each port that is chosen, and the program that listens on it."""
    envoys = {name: envoy_of(name) for name in gateway_names(gateways)}
    return {MLFLOW: MLFLOW, PREFECT: PREFECT, **envoys, CONSOLE: "console", **({RELAY: RELAY} if relays else {})}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a machine is to run, and the edges it needs."""

    folder: StateFolder
    environment: Mapping[str, str]
    """Of the person who types `up`: names foreign servers and their credentials."""
    draw: Callable[[int], bytes]
    """Random bytes for secrets."""
    parts: Callable[[Site, Keys], Sequence[Part]]
    """All of them: `stack(...)` and Sluicegate's own."""
    prepare: Callable[[Site], None]
    """Called by `up` before any of these is started: write the files that they read."""
    drain: Callable[[Site], None]
    """Called by `down` when nothing can change routes any more: let the data plane finish its requests."""
    retire: Callable[[str], None] = lambda _: None
    """Called by `up` before it ends a program that it does not run any more."""
    stop_first: tuple[str, ...] = (WORKER, "keeper")
    """Programs that could start others."""
    packaged: Packaged | None = None
    """The deployments that Prefect is to have."""
    template: Mapping[str, Any] | None = None
    """How Prefect's work pool makes Jobs of a cluster; None: runs are processes of this machine."""

    def registering(self, packaged: Packaged, site: Site, keys: Keys, *, always: bool = False) -> Deploying:
        """What registers deployments at the Prefect server of `site`."""
        clients = client_environment(site, keys, self.environment)
        environment = deploy_environment(base_environment(self.environment), clients, self.folder, keys.state_token)
        return Deploying(
            self.folder, environment, packaged, after=(PREFECT,), always=always, template=self.template
        )  # fmt: skip


WELL = (Condition.STARTING, Condition.RUNNING, Condition.STOPPING)
"""How a program is that does what it should."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """How the machine is."""

    state: Path
    supervisor: int | None
    """The supervisor's pid; None when nothing runs."""
    urls: Mapping[str, str]
    programs: tuple[ProgramState, ...]
    at: datetime
    survivors: tuple[str, ...] = ()
    """Programs that outlived a supervisor that was killed."""
    silent: Mapping[str, float] = field(default_factory=dict)
    """Programs that live and do not beat, and for how many seconds."""

    @property
    def is_up(self) -> bool:
        """No program is unwell, and there is at least one. A service that starts or drains is well."""
        well = [state.condition in WELL for state in self.programs]
        return self.supervisor is not None and bool(well) and all(well) and not self.silent


class Machine:
    """The stack of one state folder."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._folder = recipe.folder

    def up(self, on_progress: OnProgress, *, seconds: float, gateways: int | None = None) -> Site:
        """Start what does not run and wait until all is ready; what runs as it should is left alone.

        `gateways` is how many there are to be; None: as many as before.

        Raises ServiceFailed or TimedOut with the tail of the log that tells why, InvalidSetting, Refused.
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
        """Drain, then end everything this folder's `up` started and nothing else; False when nothing ran."""
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
        """How it is, without changing or waiting for anything. Raises NotFound when there was never an `up`."""
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
        """What a person's shell needs to use this installation. Raises NotFound."""
        site = read_site(self._folder)
        return client_environment(site, load_keys(self._folder.secrets), self._recipe.environment)

    def _hand_over(self, supervisor: Supervisor, parts: Sequence[Part], on_progress: OnProgress) -> None:
        """Have changed parts that can take over from the ones that run do so."""
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
        """End what an earlier `up` ran as a part and this one does not, such as an MLflow server of our own."""
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
