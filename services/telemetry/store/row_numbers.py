"""Numbers: which ids kept requests get. Runs of consecutive ones are segments.

SQLite has one writer at a time, which takes the next ones. Writers of a PostgreSQL do not wait for each other: each
fills segments of its own, whose numbers come from a sequence. What a broken-off transaction took is never used again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sluicegate.registry.words.errors import SluiceError
from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.store.days import day_of, first_id, make_day
from sluicegate.services.telemetry.store.store import Store

BITS = 14
"""A segment has 2 ** BITS ids."""
_REMEMBERED = 8


class SealedError(SluiceError):
    """Somebody took this segment for one that its writer had left. The lines are read again into another one."""


class Numbers:
    """The ids of one writer."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._day: int | None = None
        self._left = range(0)
        self._own: int | None = None
        self.has_moved = False
        """Whether the last ids begin or lie in a segment that is new."""
        self.behind: deque[int] = deque(maxlen=_REMEMBERED)
        """Segments that this writer fills no more."""

    def prepare(self, newest: int) -> None:
        """Have a place for requests of which the newest started then, in microseconds; before their transaction."""
        if self._store.is_sqlite:
            return
        day = day_of(newest)
        if day != self._day:
            self.forget()
            make_day(self._store, day)
            self._day = day

    def forget(self) -> None:
        """Begin again: what was taken may be used, or its place be gone."""
        self._leave()
        self._day, self._left = None, range(0)

    def take(self, connection: Connection, n: int) -> Sequence[range]:
        """So many ids that nobody else gets."""
        if self._store.is_sqlite:
            before = self._store.take_ids(connection, n)
            return [range(before + 1, before + 1 + n)] if n else []
        taken: list[range] = []
        self.has_moved = False
        while n:
            if not self._left:
                self._leave()
                self._left = self._next_segment(connection)
            taken.append(self._left[:n])
            self._left = self._left[n:]
            n -= len(taken[-1])
        return taken

    def check(self, connection: Connection, segments: Sequence[int]) -> None:
        """Raises SealedError where somebody sealed a segment that is still being filled."""
        table = schema.segments
        sealed = sa.select(sa.exists().where(table.c.segment.in_(segments), table.c.sealed == 1))
        if not self._store.is_sqlite and connection.scalar(sealed):
            raise SealedError("a segment was sealed while it was filled.", fix="nothing: its lines are read again.")

    def _next_segment(self, connection: Connection) -> range:
        assert self._day is not None
        number = connection.scalar(sa.select(schema.segment_numbers.next_value()))
        of_day = 1 << (schema.DAY_BITS - BITS)
        first = first_id(self._day) + ((number or 0) % of_day << BITS)
        self._own, self.has_moved = first >> BITS, True
        return range(first, first + (1 << BITS))

    def _leave(self) -> None:
        if self._own is not None:
            self.behind.append(self._own)
        self._own = None
