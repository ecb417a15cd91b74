"""Agent: what runs beside the Envoy of a gateway that shares no machine with its keeper.

It puts the routes in force that the keeper left for it, says what it serves, and runs the dead man's switch. How routes
come and words go is for those that are made from it: joining.py, cluster_gateway.py.
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
from sluicegate.services.traffic.mark import Mark
from sluicegate.services.traffic.sheet import read_sheet
from sluicegate.services.traffic.switch import PERIOD, Switch

if TYPE_CHECKING:
    from sluicegate.services.traffic.envoy.plane import Envoy
    from sluicegate.services.traffic.table import RouteTable

log = structlog.get_logger("gateway")

NAME = "gateway"
"""What it is called on its own machine."""

_PAUSE = 0.5
"""Seconds between two looks whether Envoy runs."""
_DRAIN_SECONDS, _END_SECONDS = 20.0, 10.0
"""Time for requests under way, and then for Envoy to end."""


@dataclass(kw_only=True)
class Agent(ABC):
    """One gateway, for as long as its process lives."""

    envoy: Envoy
    unwatched: float
    """As the keeper has it: after this time, and a little more, the keeper goes by it."""
    has: str = ""
    why: str = ""
    refused: bool = False
    held: tuple[str, ...] = ()
    """The models that keep their former routes, where all others have theirs."""
    unsent: dict[str, int] = field(default_factory=dict)
    """Bytes of each log that were not sent."""
    _table: RouteTable | None = None
    _builds: tuple[BuildRef, ...] = ()
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _turn: threading.RLock = field(default_factory=threading.RLock, init=False)
    """Several threads may bring what is new: routes, addresses, that a keeper watches."""

    @abstractmethod
    def endpoints(self, builds: Collection[BuildRef]) -> Endpoints:
        """Where these builds are."""

    def take(self, name: str, sheet: str) -> None:
        """Put a sheet of routes in force, as far as Envoy takes it."""
        with self._turn:
            self._table = None
            try:
                self._table, self._builds = read_sheet(sheet)
            except SluiceError as error:
                self.why = str(error)
            self.refused, self.held = False, ()
            self.hold()
            self.has = name

    def hold(self, *, is_watched: bool = True) -> None:
        """Have the routes that were sent last in force: Envoy may have been late, or on stable alone, and what routes
        before them named is cleared away when nothing is on its way there. Where no keeper watches, their stable-only
        form."""
        with self._turn:
            if self._table is None:
                return
            before, alone = self.why, replace(self._table.stable_only, made_from=self._table.made_from)
            try:
                self.envoy.apply(self._table if is_watched else alone, self.endpoints(self._builds))
                self.why, self.refused, self.held = "", False, ()
            except RoutesRejected as error:
                self.why, self.refused, self.held = error.message, True, tuple(sorted(error.held))
            except (SluiceError, OSError) as error:
                self.why = str(error)
                if self.why != before:
                    log.warning("the routes are not in force", why=self.why)

    def heed(self, age: float) -> None:
        """A keeper watches: it did so many seconds ago, or later."""
        self.envoy.renew(age)

    def said(self, **more: object) -> dict[str, object]:
        """What is so here."""
        under_way = {str(build): self.envoy.in_flight(build) for build in self._builds}
        return {
            "has": self.has, "serves": self.envoy.observe(), "why": self.why, "refused": self.refused,
            "held": list(self.held),
            "in_flight": {name: count for name, count in under_way.items() if count is not None},
            "served": self._served(), "stable_only": self._stable_only(), **more,
        }  # fmt: skip

    def _stable_only(self) -> dict[str, str] | None:
        """Since when, and why, its switch has it serve stable builds alone."""
        marked = self._mark().read()
        return None if marked is None else {"since": marked.since.isoformat(), "why": marked.why}

    def _served(self) -> dict[str, object] | None:
        """What ought to stand in the logs; None where Envoy does not say."""
        try:
            return {**asdict(self.envoy.served()), "unsent": self.unsent}
        except Unreachable:
            return None

    def mind(self, stop: threading.Event) -> None:
        """Have Envoy run until stopped; one that a gateway before left is minded, too."""
        while not stop.is_set():
            if self._process is not None and self._process.poll() is not None:
                self._process = None
            if self._process is None and self.envoy.is_away():
                self._process = subprocess.Popen(self.envoy.command(), start_new_session=True)
            stop.wait(_PAUSE)

    def begin_unwatched(self) -> None:
        """Have an Envoy that does not run yet start with stable alone."""
        if self.envoy.is_away():
            self.envoy.go_stable_only()

    def end_envoy(self) -> None:
        """Let requests finish, and end Envoy."""
        try:
            self.envoy.drain(_DRAIN_SECONDS)
            self.envoy.end()
        except Unreachable:
            log.warning("Envoy does not answer, so open requests are not waited for")
        self._await_end()

    def _await_end(self) -> None:
        """Wait until Envoy has ended, whoever started it, and with it written its log. One that does not end, hangs."""
        until = time.monotonic() + _END_SECONDS
        while not (self.envoy.is_away() if self._process is None else self._process.poll() is not None):
            if time.monotonic() > until:
                log.error("Envoy does not end; what it has not written of its log is missing")
                if self._process is not None:
                    self._process.kill()
                return
            time.sleep(0.05)

    def _mark(self) -> Mark:
        """By which it is seen that it serves stable builds alone."""
        return Mark(self.envoy.places.folder, NAME, now)

    def look_whether_watched(self, stop: threading.Event) -> None:
        """Run the dead man's switch until stopped."""
        switch = Switch(name=NAME, plane=self.envoy, mark=self._mark(), limit=self.unwatched, counts_all=True)
        while not stop.is_set():
            switch.limit = self.unwatched
            switch.look()
            stop.wait(PERIOD)
