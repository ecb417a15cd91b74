"""Fetching: downloads bentos that another machine packed, in threads, so that the keeper's looks wait for no store."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import structlog

from sluicegate.registry.rollout.facts import Packed
from sluicegate.registry.words.errors import PackFailed
from sluicegate.services.keeper.ports import Services

log = structlog.get_logger("keeper")

AT_ONCE = 2
"""Concurrent downloads; the pool's other threads are for probing and stopping services."""
AGAIN_SECONDS = 10
"""Time between attempts to fetch a bento."""
REFUSED_SECONDS = 300
"""The same if the downloaded bento was not the packed one: somebody has to replace it in the store first."""


@dataclass(frozen=True, kw_only=True)
class Absence:
    """The reason why a bento could not be fetched, and the time of the next attempt."""

    why: str
    until: float
    is_refused: bool
    """Whether the downloaded bento was not the packed one."""


@dataclass
class Fetching:
    """The downloads that are running, and the bentos that could not be fetched."""

    pool: ThreadPoolExecutor
    elapsed: Callable[[], float] = time.monotonic
    _coming: dict[Packed, Future[None]] = field(default_factory=dict)
    _absent: dict[Packed, Absence] = field(default_factory=dict)

    def is_here(self, packed: Packed, services: Services) -> bool:
        """Whether the bento is on this machine; if not, starts to fetch it."""
        coming = self._coming.get(packed)
        if coming is not None:
            return coming.done() and self._has_come(packed, self._coming.pop(packed))
        absent = self._absent.get(packed)
        if absent is None and not services.lacks(packed):
            return True
        under_way = sum(not each.done() for each in self._coming.values())
        if (absent is None or self.elapsed() >= absent.until) and under_way < AT_ONCE:
            log.info("bento is fetched", bento=packed.bento)
            self._coming[packed] = self.pool.submit(services.fetch, packed)
        return False

    def is_coming(self, packed: Packed) -> bool:
        """Whether the bento is being fetched."""
        return packed in self._coming

    def absence(self, packed: Packed) -> Absence | None:
        """Why the last attempt failed; None if it did not."""
        return self._absent.get(packed)

    def _has_come(self, packed: Packed, fetched: Future[None]) -> bool:
        error = fetched.exception()
        if error is None:
            self._absent.pop(packed, None)
            return True
        is_refused = isinstance(error, PackFailed)
        log.error("bento not fetched", bento=packed.bento, why=str(error))
        until = self.elapsed() + (REFUSED_SECONDS if is_refused else AGAIN_SECONDS)
        self._absent[packed] = Absence(why=str(error), until=until, is_refused=is_refused)
        return False
