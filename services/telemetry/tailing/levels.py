"""Levels: the time up to which each gateway's requests have been read. Outcomes are joined up to the lowest level.

An outcome of a unit belongs to the unit's last request before it. If some logs are not read yet, the last known request
need not be that one. So nothing later than the lowest level is joined or given up.
"""

from __future__ import annotations

from collections.abc import Collection


class Levels:
    """The time in microseconds up to which each log has been completely read; 0 for a log whose reader has not
    reported."""

    def __init__(self, logs: Collection[str], writers: Collection[str] = ()) -> None:
        """`writers`: the logs whose writers must report too, since a writer that hangs holds back lines."""
        self._read = dict.fromkeys(logs, 0)
        self._heard = dict.fromkeys(writers, 0)

    def read(self, log: str, at: int) -> None:
        """Note that a log has been read to its end, as it was at this time."""
        self._read[log] = at

    def heard(self, log: str, at: int) -> None:
        """Note that at this time a log's writer was responsive or dead, so that it holds back no older lines."""
        self._heard[log] = at

    def read_until(self, log: str) -> int:
        """The time up to which a log has been read."""
        return self._read[log]

    @property
    def joins(self) -> bool:
        """Whether this process joins outcomes for all readers."""
        return True

    def look(self, now: int) -> None:
        """Exchange levels with readers in other processes; here there are none."""

    def by_log(self) -> dict[str, int]:
        """The time up to which each log has been written and read."""
        return {log: min(at, self._heard.get(log, at)) for log, at in self._read.items()}

    def lowest(self) -> int:
        """The time up to which all logs have been read."""
        return min((*self._read.values(), *self._heard.values()))
