"""Registers the deployments again if Prefect has lost them, in the background, rarely, and with a time limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from sluicegate.registry.words.errors import SluiceError

log = structlog.get_logger("registration")

EVERY = timedelta(minutes=5)
"""The shortest time between the starts of two registrations."""
DEADLINE = timedelta(minutes=2)
"""Time after which an unfinished registration is cancelled."""


class Registering(Protocol):
    """One registration, in a process of its own, as `sluice up` runs it."""

    def begin(self) -> None:
        """Start it. Raises Unreachable."""
        ...

    def is_done(self) -> bool:
        """Whether the deployments are registered. Raises ServiceFailed with what Prefect said."""
        ...

    def cancel(self) -> None:
        """End the process and its children."""
        ...


@dataclass
class Registration:
    """Registers the deployments on request. Not thread-safe."""

    start: Callable[[], Registering]
    elapsed: Callable[[], float] = time.monotonic
    _running: Registering | None = field(default=None, init=False)
    _began: float | None = field(default=None, init=False)
    _failure: str = field(default="", init=False)

    @property
    def is_under_way(self) -> bool:
        """Whether a registration is running."""
        return self._running is not None

    def look(self) -> None:
        """Check whether the running registration has finished, and cancel it if it takes too long."""
        if self._running is None or self._began is None:
            return
        try:
            if self._running.is_done():
                self._end("")
            elif self.elapsed() - self._began > DEADLINE.seconds:
                self._running.cancel()
                self._end(f"it was not done after {DEADLINE.seconds} s")
        except SluiceError as error:
            self._end(str(error))

    def ask(self, now: datetime) -> str:
        """Start a registration unless one is running or was started recently; returns the state in words."""
        if self._running is None and (self._began is None or self.elapsed() - self._began >= EVERY.seconds):
            self._begin()
        if self._running is not None or self._began is None:
            return "it is being registered again"
        again = (
            f"it is registered again at {now + EVERY - timedelta(seconds=self.elapsed() - self._began):%H:%M:%S} UTC"
        )
        return f"registering it failed ({self._failure}); {again}" if self._failure else again

    def _begin(self) -> None:
        self._began = self.elapsed()
        log.warning("Prefect's deployments of Sluicegate are missing or outdated; they are registered again")
        try:
            running = self.start()
            running.begin()
        except SluiceError as error:
            self._end(str(error))
        else:
            self._running = running

    def _end(self, failure: str) -> None:
        self._running, self._failure = None, failure
        if failure:
            log.error("the deployments could not be registered", why=failure)
        else:
            log.info("the deployments are registered again")
