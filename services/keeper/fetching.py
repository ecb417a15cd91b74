"""Fetching: bentos that another machine packed come here beside the keeper's looks, which wait for no store."""

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
"""Bentos that come at the same time: the pool's other threads probe and stop services."""
AGAIN_SECONDS = 10
"""Time after which a bento is fetched again that could not be."""
REFUSED_SECONDS = 300
"""The same where what came was not what was packed: somebody has to put another one there first."""


@dataclass(frozen=True, kw_only=True)
class Absence:
    """Why a bento could not be fetched, and until when it is not tried again."""

    why: str
    until: float
    is_refused: bool
    """What came is not what was packed."""


@dataclass
class Fetching:
    """The bentos that are on their way, and those that could not be fetched."""

    pool: ThreadPoolExecutor
    elapsed: Callable[[], float] = time.monotonic
    _coming: dict[Packed, Future[None]] = field(default_factory=dict)
    _absent: dict[Packed, Absence] = field(default_factory=dict)

    def is_here(self, packed: Packed, services: Services) -> bool:
        """Whether the bento is on this machine; where it is not, it is fetched."""
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
        """Whether it is on its way."""
        return packed in self._coming

    def absence(self, packed: Packed) -> Absence | None:
        """Why the last attempt failed; None where none did."""
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
