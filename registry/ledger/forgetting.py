"""Forgetting: deletes old rows that are not part of the record. Facts, looks and documents stay."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, delete, select

from sluicegate.registry.ledger.engine import connect, writing
from sluicegate.registry.ledger.patience import LONG
from sluicegate.registry.ledger.tables import calls, leases, notes, orders
from sluicegate.registry.ledger.times import to_text

_AGING = ("webhook:", "driver:")
"""Prefixes of notes with a time that nobody reads once they are old: webhook deliveries, and last runs of rollouts."""


def forget(url: str, before: datetime, under_way: Collection[str]) -> int:
    """Delete API calls, receipts of orders, ended leases and aging notes from before this time, and return how many.

    The last runs of rollouts in progress are kept.
    """
    limit = to_text(before)
    engine = connect(url)
    try:
        with writing(engine, LONG) as connection:
            old = ((calls, calls.c.at), (orders, orders.c.at), (leases, leases.c.expires_at))
            count = sum(connection.execute(delete(table).where(at < limit)).rowcount for table, at in old)
            return count + _forget_notes(connection, before, {f"driver:{rollout}" for rollout in under_way})
    finally:
        engine.dispose()


def _forget_notes(connection: Connection, before: datetime, kept: Collection[str]) -> int:
    count = 0
    for prefix in _AGING:
        for key, value in connection.execute(select(notes).where(notes.c.key.startswith(prefix))).all():
            if key not in kept and datetime.fromisoformat(json.loads(value)["at"]) < before:
                count += connection.execute(delete(notes).where(notes.c.key == key)).rowcount
    return count
