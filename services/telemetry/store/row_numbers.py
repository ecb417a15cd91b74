"""Numbers: assigns ids to stored requests. Runs of consecutive ids are segments.

SQLite has one writer at a time, which takes the next ids. Writers to PostgreSQL do not wait for each other: each fills
its own segments, whose numbers come from a sequence. Ids that an aborted transaction took are never reused.
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
    """Another process sealed this segment, as if its writer had left it. The lines are read again into another one."""


class Numbers:
    """The ids of one writer."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._day: int | None = None
        self._left = range(0)
        self._own: int | None = None
        self.has_moved = False
        """Whether the last `take` began a new segment."""
        self.behind: deque[int] = deque(maxlen=_REMEMBERED)
        """Segments that this writer has finished."""

    def prepare(self, newest: int) -> None:
        """Create the table for requests of which the newest started at `newest` (microseconds), before their
        transaction."""
        if self._store.is_sqlite:
            return
        day = day_of(newest)
        if day != self._day:
            self.forget()
            make_day(self._store, day)
            self._day = day

    def forget(self) -> None:
        """Start with a new segment: ids of the present one may have been used, or its table may be gone."""
        self._leave()
        self._day, self._left = None, range(0)

    def take(self, connection: Connection, n: int) -> Sequence[range]:
        """Take `n` ids that no other writer gets."""
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
        """Raise SealedError if another process has sealed a segment that is still being filled."""
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
