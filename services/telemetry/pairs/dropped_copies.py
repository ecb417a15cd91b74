"""Copies that the data plane drops because a shadow is too slow. Its counter starts over with it: steps are added."""

from __future__ import annotations

import sqlalchemy as sa

from sluicegate.services.telemetry.store.pair_schema import copy_drops
from sluicegate.services.telemetry.store.store import Store


def note_drops(store: Store, rollout: str, counter: int) -> None:
    """Add what a shadow's counter grew by since it was read last; a smaller one than before began at 0."""
    table = copy_drops
    with store.write() as connection:
        last = connection.scalar(sa.select(table.c.last).where(table.c.rollout == rollout))
        if last is None:
            connection.execute(sa.insert(table).values(rollout=rollout, last=counter, n=counter))
            return
        grown = counter - last if counter >= last else counter
        if counter != last:
            ours = sa.update(table).where(table.c.rollout == rollout)
            connection.execute(ours.values(last=counter, n=table.c.n + grown))
