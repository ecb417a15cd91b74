"""Which builds of rollouts under way have no service that is ready: looked at, and noted for who judges."""

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
"""Time after which the note is written again although nothing changed: who reads it sees that somebody looks."""
ASK_SECONDS = 5.0
"""Time between two questions to a service whether it answers."""
_NONE_READ = "its process ended, or is still reading its model; the keeper restarts it"
_NONE_ANSWERS = "it takes connections and does not answer"


@dataclass
class ReadinessPass:
    """Looks at processes at every look, and asks services now and then, in threads: one that hangs delays nothing."""

    notes: Notes
    services: Services
    pool: ThreadPoolExecutor
    elapsed: Callable[[], float] = time.monotonic
    _unready: Sequence[Unready] | None = field(default=None, init=False)
    """As noted last; None before the first time."""
    _noted: datetime | None = field(default=None, init=False)
    _asked: dict[BuildRef, tuple[float, Future[Collection[Endpoint]]]] = field(default_factory=dict, init=False)
    _hanging: dict[BuildRef, Collection[Endpoint]] = field(default_factory=dict, init=False)
    """What was found when the service was asked last."""

    def look(self, rollouts: Iterable[Rollout], now: datetime) -> None:
        """Note what is not ready, where that changed or was noted a while ago."""
        under_way = [each for each in rollouts if each.is_under_way]
        builds = {build for rollout in under_way for _, build in depends_on(rollout)}
        known = self._unready if self._unready is not None else readiness(self.notes).noted
        before = {each.build: each.since for each in known}
        found = {build: why for build in sorted(builds, key=str) if (why := self._why(build)) is not None}
        unready = [Unready(build=build, since=before.get(build, now), reason=why) for build, why in found.items()]
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
        """Where it did not answer when it was asked last. It is asked again meanwhile."""
        if build not in self._asked:
            self._asked[build] = (self.elapsed(), self.pool.submit(self.services.hanging, build))
        at, asked = self._asked[build]
        if asked.done():
            self._hanging[build] = () if asked.exception() else asked.result()
            if self.elapsed() - at >= ASK_SECONDS:
                self._asked[build] = (self.elapsed(), self.pool.submit(self.services.hanging, build))
        return self._hanging.get(build, ())

    def _forget_but(self, builds: Collection[BuildRef]) -> None:
        for build in self._asked.keys() - builds:
            del self._asked[build]
            self._hanging.pop(build, None)
