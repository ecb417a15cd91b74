"""Finds builds of rollouts in progress that have no ready service, and notes them for the judges."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from sluicegate.registry.ledger.keeper_notes import note_readiness, readiness
from sluicegate.registry.ledger.port import Notes
from sluicegate.registry.rollout.depending import depends_on
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.build import BuildRef, Endpoint
from sluicegate.registry.words.readiness import Unready
from sluicegate.services.keeper.ports import Services

log = structlog.get_logger("keeper")

NOTED_FOR = timedelta(seconds=5)
"""Time after which an unchanged note is written again, so that its readers see that it is up to date."""
ASK_SECONDS = 5.0
"""Time between liveness checks of a service."""
_NONE_READ = "its process ended, or is still reading its model; the keeper restarts it"
_NONE_ANSWERS = "it takes connections and does not answer"


@dataclass
class ReadinessPass:
    """Checks processes at every look, and services every few seconds in threads, so that a hanging one delays
    nothing."""

    notes: Notes
    services: Services
    pool: ThreadPoolExecutor
    elapsed: Callable[[], float] = time.monotonic
    _unready: Sequence[Unready] | None = field(default=None, init=False)
    """The last note; None before the first."""
    _noted: datetime | None = field(default=None, init=False)
    _checks: dict[BuildRef, tuple[float, Future[Collection[Endpoint]]]] = field(default_factory=dict, init=False)
    """The last liveness check of each build: when it began, and its result."""
    _hanging: dict[BuildRef, Collection[Endpoint]] = field(default_factory=dict, init=False)
    """The result of each build's last finished check."""

    def look(self, rollouts: Iterable[Rollout], now: datetime) -> None:
        """Note the builds that are not ready, if they have changed or the note is old."""
        under_way = [each for each in rollouts if each.is_under_way]
        builds = {build for rollout in under_way for _, build in depends_on(rollout)}
        last = self._unready if self._unready is not None else readiness(self.notes).noted
        before = {each.build: each.since for each in last}
        reasons = {build: why for build in sorted(builds, key=str) if (why := self._why(build)) is not None}
        unready = [Unready(build=build, since=before.get(build, now), reason=why) for build, why in reasons.items()]
        self._forget_but(builds)
        is_old = self._noted is None or not timedelta() <= now - self._noted < NOTED_FOR
        if unready == self._unready and not (under_way and is_old):
            return
        for each in unready:
            if each.build not in before:
                log.warning("no service is ready: no weight grows", build=str(each.build), why=each.reason)
        note_readiness(self.notes, unready, now)
        self._unready, self._noted = unready, now

    def _why(self, build: BuildRef) -> str | None:
        ready = self.services.ready(build)
        if not ready:
            return _NONE_READ
        return _NONE_ANSWERS if set(ready) <= set(self._silent(build)) else None

    def _silent(self, build: BuildRef) -> Collection[Endpoint]:
        """The replicas that did not answer the last finished check. Starts the next check when it is due."""
        if build not in self._checks:
            self._checks[build] = (self.elapsed(), self.pool.submit(self.services.hanging, build))
        at, check = self._checks[build]
        if check.done():
            self._hanging[build] = () if check.exception() else check.result()
            if self.elapsed() - at >= ASK_SECONDS:
                self._checks[build] = (self.elapsed(), self.pool.submit(self.services.hanging, build))
        return self._hanging.get(build, ())

    def _forget_but(self, builds: Collection[BuildRef]) -> None:
        for build in self._checks.keys() - builds:
            del self._checks[build]
            self._hanging.pop(build, None)
