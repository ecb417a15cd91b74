"""Waiting copies: a shadow's copies whose request was not read yet are looked at again when it is.

Whoever writes requests does that in its turn, and copies are looked at in a turn: so none is missed in between.
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
    """Have the copies of these requests looked at again."""
    is_waiting = copies.c.state == WAITING
    rids = [rid for rid in kept.rids if rid is not None]
    if rids and connection.scalar(sa.select(sa.exists().where(is_waiting))):
        ours = sa.update(copies).where(is_waiting, among(store, copies.c.rid, rids))
        connection.execute(ours.values(state=NEW))
