"""Agent: runs beside the Envoy of a gateway that is not on its keeper's machine.

It applies the routes that the keeper left for it, reports what it serves, and runs the dead man's switch. Its
subclasses, in joined_agent.py and cluster_gateway.py, fetch the routes and send the reports.
"""

from __future__ import annotations

import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

import structlog

from sluicegate.flows.wiring.runtime import now
from sluicegate.registry.words.build import BuildRef, Endpoints
from sluicegate.registry.words.errors import RoutesRejected, SluiceError, Unreachable
from sluicegate.services.telemetry.tailing.backlog import access_logs
from sluicegate.services.telemetry.tailing.tail import Tail
from sluicegate.services.traffic.mark import Mark
from sluicegate.services.traffic.sheet import read_sheet
from sluicegate.services.traffic.switch import PERIOD, Switch

if TYPE_CHECKING:
    from sluicegate.services.traffic.envoy.plane import Envoy
    from sluicegate.services.traffic.table import RouteTable

log = structlog.get_logger("gateway")

NAME = "gateway"
"""The gateway's name on its own machine."""

_PAUSE = 0.5
"""Seconds between two checks that Envoy runs."""
_DRAIN_SECONDS, _END_SECONDS = 20.0, 10.0
"""Time limits for open requests to finish, and then for Envoy to end."""


@dataclass(kw_only=True)
class Agent(ABC):
    """One gateway, for as long as its process lives."""

    envoy: Envoy
    unwatched: float
    """Seconds without a keeper after which the switch acts. The keeper relies on this limit, with some slack."""
    has: str = ""
    why: str = ""
    refused: bool = False
    refused_models: tuple[str, ...] = ()
    """Models that keep their former routes because their new ones were refused."""
    _table: RouteTable | None = None
    _builds: tuple[BuildRef, ...] = ()
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _turn: threading.RLock = field(default_factory=threading.RLock, init=False)
    """Held while routes change: several threads bring new routes, addresses and signs of the keeper."""

    @abstractmethod
    def endpoints(self, builds: Collection[BuildRef]) -> Endpoints:
        """The addresses of these builds."""

    def take(self, name: str, sheet: str, *, is_watched: bool = True) -> None:
        """Apply a sheet of routes, as far as Envoy accepts it; if no keeper watches, its stable-only form."""
        with self._turn:
            self._table = None
            try:
                self._table, self._builds = read_sheet(sheet)
            except SluiceError as error:
                self.why = str(error)
            self.refused, self.refused_models = False, ()
            self.hold(is_watched=is_watched)
            self.has = name

    def hold(self, *, is_watched: bool = True) -> None:
        """Apply the last routes again; if no keeper watches, their stable-only form.

        Envoy may have been late, or may serve stable builds only. This also removes clusters of former routes once no
        request uses them.
        """
        with self._turn:
            if self._table is None:
                return
            before, stable_only = self.why, replace(self._table.stable_only, made_from=self._table.made_from)
            try:
                self.envoy.apply(self._table if is_watched else stable_only, self.endpoints(self._builds))
                self.why, self.refused, self.refused_models = "", False, ()
            except RoutesRejected as error:
                self.why, self.refused, self.refused_models = error.message, True, tuple(sorted(error.models))
            except (SluiceError, OSError) as error:
                self.why = str(error)
                if self.why != before:
                    log.warning("the routes are not in force", why=self.why)

    def report(self, **more: object) -> dict[str, object]:
        """The gateway's report on itself."""
        under_way = {str(build): self.envoy.in_flight(build) for build in self._builds}
        return {
            "has": self.has, "serves": self.envoy.observe(), "why": self.why, "refused": self.refused,
            "refused_models": list(self.refused_models),
            "in_flight": {name: count for name, count in under_way.items() if count is not None},
            "served": self._served(), "stable_only": self._stable_only(), **more,
        }  # fmt: skip

    def _stable_only(self) -> dict[str, str] | None:
        """Since when and why the switch makes it serve stable builds only; None if it does not."""
        marked = self._mark().read()
        return None if marked is None else {"since": marked.since.isoformat(), "why": marked.why}

    def _served(self) -> dict[str, object] | None:
        """Envoy's own counts of what the logs should contain, and the logs' sizes at that moment; None if Envoy does
        not answer."""
        try:
            counted = asdict(self.envoy.served())
        except Unreachable:
            return None
        return {**counted, "written": {path.stem: Tail(path).sizes() for path in access_logs(self.envoy.logs)}}

    def keep_running(self, stop: threading.Event) -> None:
        """Keep Envoy running until stopped. An Envoy that an earlier process left running counts as well."""
        while not stop.is_set():
            if self._process is not None and self._process.poll() is not None:
                self._process = None
            if self._process is None and self.envoy.is_away():
                self._process = subprocess.Popen(self.envoy.command(), start_new_session=True)
            stop.wait(_PAUSE)

    def begin_unwatched(self) -> None:
        """If Envoy does not run yet, make it start with stable builds only."""
        if self.envoy.is_away():
            self.envoy.go_stable_only()

    def end_envoy(self) -> None:
        """Let open requests finish, then end Envoy."""
        try:
            self.envoy.drain(_DRAIN_SECONDS)
            self.envoy.end()
        except Unreachable:
            log.warning("Envoy does not answer, so open requests are not waited for")
        self._await_end()

    def _await_end(self) -> None:
        """Wait until Envoy has ended and so written its log, no matter who started it. Kill it if it hangs."""
        deadline = time.monotonic() + _END_SECONDS
        while not (self.envoy.is_away() if self._process is None else self._process.poll() is not None):
            if time.monotonic() > deadline:
                log.error("Envoy does not end; what it has not written of its log is missing")
                if self._process is not None:
                    self._process.kill()
                return
            time.sleep(0.05)

    def _mark(self) -> Mark:
        """The mark that shows that this gateway serves stable builds only."""
        return Mark(self.envoy.places.folder, NAME, now)

    def look_whether_watched(self, stop: threading.Event) -> None:
        """Run the dead man's switch until stopped."""
        switch = Switch(name=NAME, plane=self.envoy, mark=self._mark(), limit=self.unwatched, counts_all=True)
        while not stop.is_set():
            switch.limit = self.unwatched
            switch.look()
            stop.wait(PERIOD)
