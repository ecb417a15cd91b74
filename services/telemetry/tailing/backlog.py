"""Backlog: how much of the logs is unread, and since when. Any process can query it, even while the collector is
down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.store.store import Store
from sluicegate.services.telemetry.tailing.offsets import Offsets, name_of
from sluicegate.services.telemetry.tailing.tail import Tail


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """What the collector has not read yet."""

    unread_bytes: int
    """In all files of the logs."""
    read_at: float | None
    """When a line was last read, in seconds since 1970; None: never."""

    def waits(self, now: float) -> float:
        """Seconds since a line was last read; 0 if nothing is unread."""
        return max(now - self.read_at, 0.0) if self.unread_bytes and self.read_at is not None else 0.0


@dataclass(frozen=True, kw_only=True)
class Read:
    """How much of a log has been read."""

    lines: int = 0
    unreadable: int = 0
    size: int = 0
    """Bytes that have been read."""
    unread: int = 0
    """Bytes that are unread; below 0 if more has been read than the files had when somebody looked."""


def read_of(store: Store, log: Path) -> Read:
    """How much of the log at this path has been read. Looks at the files first, as they may be read meanwhile."""
    sizes = Tail(log).sizes(Offsets(store, log).load())
    return read_of_name(store, name_of(store, log), sizes)


def read_of_name(store: Store, name: str, sizes: Mapping[str, int]) -> Read:
    """How much of the log with this name has been read; it may be on another machine. `sizes`: of its files, by head,
    when somebody looked there."""
    logs, offsets = schema.logs, schema.offsets
    columns = ("lines", "unreadable", "size")
    query = (  # one query, so that lines and offsets are of one moment
        sa.select(*(logs.c[column] for column in columns), offsets.c.head, offsets.c.offset)
        .select_from(logs.outerjoin(offsets, offsets.c.log == logs.c.log))
        .where(logs.c.log == name)
    )
    with store.read() as connection:
        rows = connection.execute(query).mappings().all()
    read = {row["head"]: row["offset"] for row in rows}
    unread = sum(size - read.get(head, 0) for head, size in sizes.items())
    return Read(unread=unread, **{column: rows[0][column] for column in columns} if rows else {})


def access_logs(folder: Path) -> tuple[Path, Path, Path]:
    """The paths of the logs that the collector reads, which are also written to now."""
    return folder / "live.jsonl", folder / "shadow.jsonl", folder / "generated.jsonl"


def backlog(store: Store, logs: Sequence[Path]) -> Backlog:
    """The backlog of these logs, each given by the path that is written to now."""
    unread = sum(max(read_of(store, log).unread, 0) for log in logs)
    table = schema.offsets
    query = sa.select(sa.func.max(table.c.read_at)).where(table.c.log.in_([name_of(store, log) for log in logs]))
    with store.read() as connection:
        read_at = connection.scalar(query)
    return Backlog(unread_bytes=unread, read_at=read_at / 1e6 if read_at is not None else None)
