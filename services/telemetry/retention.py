"""Retention: request rows go when no label can come any more; tallies and what was seen stay for ever."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from services.telemetry import schema
from services.telemetry.counts import Count
from services.telemetry.outcomes import State, microseconds
from services.telemetry.segments import ids_of
from services.telemetry.store import Store

PULSE_KEPT = timedelta(hours=1)
_LIMIT = 20_000
"""Rows deleted in one transaction, so that the collector never waits long."""
_WAITING = (State.NEW, State.UNIT, State.WAITING)


@dataclass(frozen=True, kw_only=True)
class Retained:
    """What a pass removed."""

    exposures: int
    outcomes: int


def retain(store: Store, before: datetime, now: datetime) -> Retained:
    """Delete requests that started before `before`, and outcomes received before it that wait for nothing.

    Scores that are still maturing are kept apart from their requests and are tallied all the same. A request whose
    rollout never became known is counted as untallied.
    """
    limit = microseconds(before)
    with store.read() as connection:
        begun_before = sa.select(schema.segments.c.segment).where(schema.segments.c.first_at < limit)
        old = connection.scalars(begun_before.order_by(schema.segments.c.segment)).all()
    exposures = sum(_drop_exposures(store, segment, limit) for segment in old)
    outcomes = 0
    while removed := _drop_outcomes(store, limit):
        outcomes += removed
    _drop_units(store, limit)
    with store.write() as connection:
        beat = int((now - PULSE_KEPT).timestamp())
        connection.execute(sa.delete(schema.pulse).where(schema.pulse.c.at < beat))
    return Retained(exposures=exposures, outcomes=outcomes)


def _drop_exposures(store: Store, segment: int, limit: int) -> int:
    exposures, unjudged, segments = schema.exposures, schema.unjudged, schema.segments
    first, end = ids_of(segment)
    is_old = sa.and_(exposures.c.id >= first, exposures.c.id < end, exposures.c.at < limit)
    ours = segments.c.segment == segment
    with store.write() as connection:
        old = sa.select(exposures.c.id).where(is_old)
        untallied = connection.execute(sa.delete(unjudged).where(unjudged.c.exposure.in_(old))).rowcount
        store.count(connection, {Count.UNTALLIED: untallied})
        removed = connection.execute(sa.delete(exposures).where(is_old)).rowcount
        connection.execute(sa.update(segments).where(ours).values(first_at=limit))
        connection.execute(sa.delete(segments).where(ours, segments.c.last_at < limit))
        return removed


def _drop_outcomes(store: Store, limit: int) -> int:
    table = schema.outcomes
    is_old = sa.and_(table.c.received_at < limit, table.c.state.not_in(_WAITING))
    old = sa.select(table.c.pk).where(is_old).order_by(table.c.received_at).limit(_LIMIT)
    with store.write() as connection:
        return connection.execute(sa.delete(table).where(table.c.pk.in_(old))).rowcount


def _drop_units(store: Store, limit: int) -> None:
    """Forget the units of rollouts of which no request and no maturing score is left."""
    units, exposures, maturing, seen = schema.units, schema.exposures, schema.maturing, schema.seen
    last_seen = sa.select(seen.c.rollout, sa.func.max(seen.c.bucket)).group_by(seen.c.rollout)
    with store.read() as connection:
        rollouts = connection.scalars(sa.select(units.c.rollout).distinct()).all()
        newest: dict[str, int] = dict(connection.execute(last_seen).tuples().all())
    for rollout in rollouts:
        if newest.get(rollout, 0) * 1_000_000 >= limit:
            continue
        lives = [sa.select(sa.exists().where(table.c.rollout == rollout)) for table in (exposures, maturing)]
        with store.write() as connection:
            if not any(connection.scalar(query) for query in lives):
                connection.execute(sa.delete(units).where(units.c.rollout == rollout))
