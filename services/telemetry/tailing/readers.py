"""Readers: collectors on several hosts exchange their levels in the database, and one of them joins for all.

Each one notes up to when it has read each log. The first by name of those seen recently joins, up to the lowest level
of all; so a reader that is behind or silent delays everything later than its level. After an hour of silence it is no
longer waited for, since outcomes are given up after that time too. It counts again as soon as it is back.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sluicegate.services.telemetry.store.schema import readers
from sluicegate.services.telemetry.store.store import Store
from sluicegate.services.telemetry.tailing.levels import Levels

PERIOD = 500_000
"""Microseconds between notes of a reader."""
PRESENT = 10_000_000
"""Microseconds of silence after which another reader takes over joining."""
GONE = 3_600_000_000
"""Microseconds of silence after which a reader is no longer waited for."""


class Reader(NamedTuple):
    """A log, and the time up to which it has been read; times in microseconds."""

    host: str
    log: str
    read_until: int
    seen_at: int
    retired: bool

    def is_present(self, now: int) -> bool:
        return not self.retired and now - self.seen_at <= PRESENT


def all_readers(store: Store) -> Sequence[Reader]:
    """All readers; none if only one process reads logs into this telemetry."""
    with store.read() as connection:
        return _readers(connection)


def retire(store: Store, host: str) -> None:
    """Stop waiting for the readers of a host that has ended, whose logs have been read or never will be."""
    with store.write(in_turn=False) as connection:
        connection.execute(sa.update(readers).where(readers.c.host == host).values(retired=True))


class SharedLevels(Levels):
    """The levels of this process's logs and of those in other processes."""

    def __init__(self, store: Store, host: str, logs: Collection[str], writers: Collection[str] = ()) -> None:
        """`host` is this process's name among those that share the database; it stays the same across restarts."""
        super().__init__(logs, writers)
        self._store, self._host = store, host
        self._noted_at: int | None = None
        self._others = 0
        self._joins = False

    @property
    def joins(self) -> bool:
        return self._joins

    def look(self, now: int) -> None:
        """Note this process's levels, and read those of others. Raises Unreachable; then the last known levels stay."""
        if self._noted_at is not None and 0 <= now - self._noted_at < PERIOD:
            return
        with self._store.write(in_turn=False) as connection:
            self._note(connection, now)
            all_rows = _readers(connection)
        self._noted_at = now
        waited_for = [each for each in all_rows if not each.retired and each.host != self._host]
        self._others = min((each.read_until for each in waited_for), default=now)
        self._joins = self._host == min(each.host for each in all_rows if each.is_present(now))

    def lowest(self) -> int:
        return min(super().lowest(), self._others)

    def _note(self, connection: Connection, now: int) -> None:
        own = self.by_log()
        rows = [(self._host, log, until, now, False) for log, until in own.items()]
        self._store.insert(connection, readers, rows, replace=True)
        is_own = readers.c.host == self._host
        others = sa.and_(is_own, readers.c.log.not_in(list(own)))
        is_silent = sa.and_(~is_own, readers.c.seen_at < now - GONE)
        retired = sa.update(readers).where(sa.or_(others, is_silent), ~readers.c.retired)
        connection.execute(retired.values(retired=True))


def _readers(connection: Connection) -> Sequence[Reader]:
    return [Reader(*row) for row in connection.execute(sa.select(readers).order_by(readers.c.host, readers.c.log))]
