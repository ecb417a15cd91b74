"""Growth: the number of stored requests, their daily rate, and outcomes that no plan asks for."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from sluicegate.services.telemetry.outcomes.outcome import State
from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.store.store import Store

BYTES = 100
"""The most bytes that a stored request takes, including its index entries."""
DAY = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Growth:
    """The number and rate of stored requests."""

    kept: int
    """Requests that are stored now."""
    a_day: float
    """Requests of the last day that were stored; extrapolated to a day if there is less data."""

    def more(self, seconds: float) -> float:
        """The bytes that will be added at the present rate, if each request is kept for `seconds`."""
        return max(self.a_day * seconds / DAY - self.kept, 0.0) * BYTES

    def days(self, free: float) -> float:
        """How many days `free` bytes last if nothing is deleted."""
        return free / (self.a_day * BYTES) if self.a_day else float("inf")


def growth(store: Store, now: float) -> Growth:
    """The growth, computed from the segments; `now` in seconds since 1970."""
    table = schema.segments
    with store.read() as connection:
        spans = connection.execute(sa.select(table.c.first_at, table.c.last_at, table.c.requests)).all()
    since = (now - DAY) * 1e6
    came = sum(n * min((last - since) / max(last - first, 1), 1.0) for first, last, n in spans if last > since)
    began = min((first for first, _, _ in spans), default=now * 1e6)
    lasted = min(max(now - began / 1e6, 3_600.0), DAY)
    return Growth(kept=sum(n for _, _, n in spans), a_day=came * DAY / lasted)


def unasked(store: Store) -> dict[str, int]:
    """The number of outcomes that no plan asks for, by model; the empty key counts those that named no model."""
    table = schema.outcomes
    query = sa.select(sa.func.coalesce(table.c.model, ""), sa.func.count()).where(table.c.state == State.UNASKED)
    with store.read() as connection:
        return dict(connection.execute(query.group_by(table.c.model)).tuples().all())
