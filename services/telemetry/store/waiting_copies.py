"""Waiting copies: a shadow's copies that wait for their request are paired again once the request is read.

Requests are written and copies are paired while holding the write lock, so that no copy is missed in between.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sluicegate.services.telemetry.store.pair_schema import copies
from sluicegate.services.telemetry.store.store import Store, among
from sluicegate.services.telemetry.tally.batch import Batch

NEW: Final = "new"
WAITING: Final = "waiting"


def wake_copies(store: Store, connection: Connection, kept: Batch) -> None:
    """Release the waiting copies of these requests."""
    is_waiting = copies.c.state == WAITING
    rids = [rid for rid in kept.rids if rid is not None]
    if rids and connection.scalar(sa.select(sa.exists().where(is_waiting))):
        ours = sa.update(copies).where(is_waiting, among(store, copies.c.rid, rids))
        connection.execute(ours.values(state=NEW))
