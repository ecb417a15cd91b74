"""Readers: collectors on several hosts tell each other in the database until when they read; one of them joins for all.

Each writes down until when it read which log. What joins is the first of those that were seen lately, and it acts at
the slowest of all: a reader that is behind, or silent, holds up what is later than it got to. After an hour of silence
its lines are taken not to come any more, as outcomes are then given up; it counts again as soon as it is back.
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
"""Microseconds between two notes of a reader."""
PRESENT = 10_000_000
"""Microseconds of silence after which another reader joins in the place of one."""
GONE = 3_600_000_000
"""Microseconds of silence after which nobody waits for a reader."""


class Reader(NamedTuple):
    """A log, and until when it was read; times in microseconds."""

    host: str
    log: str
    read_until: int
    seen_at: int
    retired: bool

    def is_present(self, now: int) -> bool:
        return not self.retired and now - self.seen_at <= PRESENT


def all_readers(store: Store) -> Sequence[Reader]:
    """Every reader that is not forgotten; none where the telemetry has one reader's process alone."""
    with store.read() as connection:
        return _known(connection)


def retire(store: Store, host: str) -> None:
    """Have nobody wait for the readers of a host that has ended: all that it logged was read, or never will be."""
    with store.write(in_turn=False) as connection:
        connection.execute(sa.update(readers).where(readers.c.host == host).values(retired=True))


class SharedLevels(Levels):
    """The levels of this process's logs and of all others'."""

    def __init__(self, store: Store, host: str, logs: Collection[str], writers: Collection[str] = ()) -> None:
        """`host` is this process's name among those that share the database, and stays the same when it restarts."""
        super().__init__(logs, writers)
        self._store, self._host = store, host
        self._noted_at: int | None = None
        self._others = 0
        self._joins = False

    @property
    def joins(self) -> bool:
        return self._joins

    def look(self, now: int) -> None:
        """Tell the others, and hear from them. Raises Unreachable; then nothing is known of them but what was."""
        if self._noted_at is not None and 0 <= now - self._noted_at < PERIOD:
            return
        with self._store.write(in_turn=False) as connection:
            self._note(connection, now)
            known = _known(connection)
        self._noted_at = now
        waited_for = [each for each in known if not each.retired and each.host != self._host]
        self._others = min((each.read_until for each in waited_for), default=now)
        self._joins = self._host == min(each.host for each in known if each.is_present(now))

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


def _known(connection: Connection) -> Sequence[Reader]:
    return [Reader(*row) for row in connection.execute(sa.select(readers).order_by(readers.c.host, readers.c.log))]
