"""Offsets: how far each file of a log has been read, updated in the transaction that writes the rows."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sluicegate.registry.words.errors import SluiceError
from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.store.store import Store
from sluicegate.services.telemetry.tailing.tail import Chunk


class OvertakenError(SluiceError):
    """Another collector read the same lines first. Nothing is counted twice; offsets are loaded again."""


def name_of(store: Store, log: Path) -> str:
    """The name of a log, unique among all logs that are read into the database."""
    return f"{store.host}:{log}" if store.host else str(log)


class Offsets:
    """The offsets of one log."""

    def __init__(self, store: Store, log: Path) -> None:
        self._store = store
        self._log = name_of(store, log)

    def load(self) -> dict[str, int]:
        """The offset after the last line that has been read, by file."""
        table = schema.offsets
        query = sa.select(table.c.head, table.c.offset).where(table.c.log == self._log)
        with self._store.read() as connection:
            return dict(connection.execute(query).tuples().all())

    def forget(self, present: Collection[str], before: int) -> None:
        """Delete the offsets of files that are gone and were last read before a time in microseconds."""
        table = schema.offsets
        mine = sa.and_(table.c.log == self._log, table.c.read_at < before)
        with self._store.read() as connection:
            old = connection.scalars(sa.select(table.c.head).where(mine)).all()
        gone = [head for head in old if head not in present]
        if gone:
            with self._store.write() as connection:
                connection.execute(sa.delete(table).where(mine, table.c.head.in_(gone)))

    def move(self, connection: Connection, chunk: Chunk, now: int) -> None:
        """Note that a chunk was read at `now` (microseconds). Raises OvertakenError if the stored offset is not its
        start."""
        table = schema.offsets
        if chunk.start == 0:
            row = (self._log, chunk.head, chunk.end, now)
            moved = self._store.insert(connection, table, [row])
        else:
            same = sa.and_(table.c.log == self._log, table.c.head == chunk.head)
            update = sa.update(table).where(same, table.c.offset == chunk.start)
            moved = connection.execute(update.values(offset=chunk.end, read_at=now)).rowcount
        if moved != 1:
            raise OvertakenError(
                f"another collector reads {self._log} too, and has read beyond byte {chunk.start:,}.",
                fix="run one collector for each log.",
            )
