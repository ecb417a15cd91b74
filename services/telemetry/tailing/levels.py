"""Levels: until when each gateway's requests were read. Whoever joins outcomes to them goes by the slowest reader.

An outcome of a unit belongs to its last request before it. Where one log was read and another was not, the last request
that is known need not be the last one, so nothing later than the lowest level is joined, and nothing is given up.
"""

from __future__ import annotations

from collections.abc import Collection


class Levels:
    """By log, the time in microseconds until which all of it was read. One whose reader said nothing yet is at 0."""

    def __init__(self, logs: Collection[str], writers: Collection[str] = ()) -> None:
        """`writers`: those of the logs whose writers are listened to as well: one that hangs has lines that it has not
        written."""
        self._read = dict.fromkeys(logs, 0)
        self._heard = dict.fromkeys(writers, 0)

    def read(self, log: str, at: int) -> None:
        """A log was read to its end, as it was at this time."""
        self._read[log] = at

    def heard(self, log: str, at: int) -> None:
        """A log's writer was alive at this time, or dead: it keeps no line back for long."""
        self._heard[log] = at

    def read_until(self, log: str) -> int:
        """Until when a log was read to its end."""
        return self._read[log]

    @property
    def joins(self) -> bool:
        """Whether whoever asks is to join outcomes for all readers."""
        return True

    def look(self, now: int) -> None:
        """Hear from the readers of other processes; here are none."""

    def by_log(self) -> dict[str, int]:
        """Until when each log was read, as far as its writer had written it."""
        return {log: min(at, self._heard.get(log, at)) for log, at in self._read.items()}

    def lowest(self) -> int:
        """Until when everything was read."""
        return min((*self._read.values(), *self._heard.values()))
