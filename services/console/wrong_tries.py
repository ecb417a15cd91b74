"""Wrong tries: how long whoever shows a wrong token waits for the answer. A right token never waits.

Tries are counted by address and by the name that they come with, and forgotten after a quarter of an hour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

FREE = 3
"""So many wrong tries are answered at once: people mistype."""
FIRST, LONGEST = 0.5, 10.0
"""Seconds; each further try waits twice as long as the one before."""
FORGOTTEN = 900.0
"""Seconds after the last try."""
WAITING = 20
"""So many may wait at the same time; more are turned away at once, with 429."""


class WrongTries:
    """Counts the wrong tries of one console; `monotonic` is in seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = Lock()
        self._tries: dict[str, tuple[int, float]] = {}
        self._waiting = 0

    def count(self, *keys: str) -> tuple[int, float]:
        """Count one for each key; how many there were of the key with most, and the seconds that the answer waits."""
        now = self._monotonic()
        with self._lock:
            self._tries = {key: kept for key, kept in self._tries.items() if now - kept[1] < FORGOTTEN}
            for key in keys:
                self._tries[key] = (self._tries.get(key, (0, now))[0] + 1, now)
            most = max(self._tries[key][0] for key in keys)
        return most, 0.0 if most <= FREE else min(FIRST * 2.0 ** min(most - FREE - 1, 30), LONGEST)

    @contextmanager
    def room_to_wait(self) -> Iterator[bool]:
        """Whether one more may wait; whoever may holds a place inside of the block."""
        with self._lock:
            has_room = self._waiting < WAITING
            self._waiting += has_room
        try:
            yield has_room
        finally:
            with self._lock:
                self._waiting -= has_room
