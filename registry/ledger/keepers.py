"""Keepers in the ledger's database: who stands for election, and by whose clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select, text

from sluicegate.registry.ledger.election import forgotten, leader, stand
from sluicegate.registry.ledger.record import Keeping
from sluicegate.registry.ledger.tables import keepers
from sluicegate.registry.ledger.times import from_text, to_text, utc


def shared_clock(connection: Connection) -> datetime | None:
    """The time of a database that several hosts share; None if all writers are on one machine."""
    if connection.dialect.name != "postgresql":
        return None
    return utc(connection.execute(text("SELECT clock_timestamp()")).scalar_one())


def known_keepers(connection: Connection) -> tuple[Keeping, ...]:
    """Every keeper on record."""
    return tuple(
        Keeping(
            keeper=row.keeper, term=row.term, until=from_text(row.until) if row.until else None,
            seen_at=from_text(row.seen_at),
        )
        for row in connection.execute(select(keepers))
    )  # fmt: skip


def stand_in(
    connection: Connection, keeper: str, lasts: timedelta, now: datetime, is_gone: Callable[[str], bool]
) -> Keeping:
    """Let a keeper stand for election inside a write transaction, and return the leader."""
    now, known = shared_clock(connection) or now, known_keepers(connection)
    own = stand(known, keeper, lasts, now, is_gone)
    connection.execute(delete(keepers).where(keepers.c.keeper.in_((keeper, *forgotten(known, now)))))
    row = {"term": own.term, "until": to_text(own.until) if own.until else None, "seen_at": to_text(own.seen_at)}
    connection.execute(insert(keepers).values(keeper=keeper, **row))
    return own if own.until is not None else leader(known) or own
