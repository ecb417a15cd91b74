"""Copies that gateways drop because a shadow is too slow. Adds up the increases of counters, which restart at 0."""

from __future__ import annotations

import sqlalchemy as sa

from sluicegate.services.telemetry.store.pair_schema import copy_drops
from sluicegate.services.telemetry.store.store import Store


def note_drops(store: Store, rollout: str, gateway: str, counter: int) -> None:
    """Add the increase of a shadow's counter at a gateway since it was last read. If it is smaller, it restarted at
    0."""
    table = copy_drops
    ours = sa.and_(table.c.rollout == rollout, table.c.gateway == gateway)
    with store.write() as connection:
        last = connection.scalar(sa.select(table.c.last).where(ours))
        if last is None:
            row = {"rollout": rollout, "gateway": gateway, "last": counter, "n": counter}
            connection.execute(sa.insert(table).values(row))
            return
        grown = counter - last if counter >= last else counter
        if counter != last:
            connection.execute(sa.update(table).where(ours).values(last=counter, n=table.c.n + grown))
