"""Wrong tries: the delay before a wrong token is refused. A correct token never waits.

Tries are counted by address and by the given name, and forgotten after a quarter of an hour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

FREE = 3
"""The number of wrong tries without a delay, since people mistype."""
FIRST, LONGEST = 0.5, 10.0
"""The first and the longest delay, in seconds. Each try waits twice as long as the one before."""
FORGOTTEN = 900.0
"""Seconds after the last try."""
WAITING = 20
"""The most that may wait at the same time; further tries get 429 at once."""


class WrongTries:
    """Counts the wrong tries at one console; `monotonic` is in seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = Lock()
        self._tries: dict[str, tuple[int, float]] = {}
        self._waiting = 0

    def count(self, *keys: str) -> tuple[int, float]:
        """Count one try for each key; returns the largest of their counts, and the delay in seconds."""
        now = self._monotonic()
        with self._lock:
            self._tries = {key: kept for key, kept in self._tries.items() if now - kept[1] < FORGOTTEN}
            for key in keys:
                self._tries[key] = (self._tries.get(key, (0, now))[0] + 1, now)
            most = max(self._tries[key][0] for key in keys)
        return most, 0.0 if most <= FREE else min(FIRST * 2.0 ** min(most - FREE - 1, 30), LONGEST)

    @contextmanager
    def room_to_wait(self) -> Iterator[bool]:
        """Yields whether one more may wait; if so, it occupies a place until the block ends."""
        with self._lock:
            has_room = self._waiting < WAITING
            self._waiting += has_room
        try:
            yield has_room
        finally:
            with self._lock:
                self._waiting -= has_room
