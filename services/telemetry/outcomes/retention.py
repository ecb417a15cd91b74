"""Retention: deletes request rows once no more labels can arrive. Tallies and counts of requests are kept for ever."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

import sqlalchemy as sa

from sluicegate.services.telemetry.outcomes.outcome import OPEN, State, microseconds
from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.telemetry.store.days import days_before, drop_day, first_id
from sluicegate.services.telemetry.store.segments import ids_of, segment_of
from sluicegate.services.telemetry.store.store import Store

KEPT_SINCE = "kept_since"
RECENT_KEPT = timedelta(hours=1)
_LIMIT = 20_000
"""The most rows deleted in one transaction, so that the collector never waits long."""


@dataclass(frozen=True, kw_only=True)
class Retained:
    """The numbers of rows that a pass deleted."""

    exposures: int
    outcomes: int


def retain(
    store: Store, before: datetime, now: datetime, shorter: Mapping[str, datetime] = MappingProxyType({})
) -> Retained:  # fmt: skip
    """Delete requests that started before `before`, and outcomes received before it whose state is final.

    `shorter` has later times for models whose requests are kept for a shorter time. Scores that are still maturing are
    stored apart from their requests, and will be tallied. A request whose rollout never became known is counted as
    untallied.
    """
    limit = microseconds(before)
    with store.read() as connection:
        begun_before = sa.select(schema.segments.c.segment).where(schema.segments.c.first_at < limit)
        old = connection.scalars(begun_before.order_by(schema.segments.c.segment)).all()
    exposures = _drop_days(store, limit)
    exposures += sum(_drop_exposures(store, segment, limit) for segment in old if not _is_dated(store, segment))
    limits = {model: microseconds(each) for model, each in shorter.items()}
    exposures += sum(_drop_of_model(store, model, each) for model, each in limits.items())
    _give_up_orphans(store)
    outcomes = 0
    while removed := _drop_outcomes(store, limit):
        outcomes += removed
    _drop_dated(store, limit)
    _drop_units(store, limit)
    _drop_bodies(store, limit, limits)
    _note(store, {KEPT_SINCE: limit} | {kept_since(model): each for model, each in limits.items()})
    with store.write() as connection:
        is_past = schema.recent.c.at < int((now - RECENT_KEPT).timestamp())
        connection.execute(sa.delete(schema.recent).where(is_past))
    return Retained(exposures=exposures, outcomes=outcomes)


def kept_since(model: str) -> str:
    """The key in the table of state for the time, in microseconds, before which a model's requests were deleted."""
    return f"{KEPT_SINCE}:{model}"


def _note(store: Store, limits: Mapping[str, int]) -> None:
    with store.write() as connection:
        store.add(connection, schema.state, limits.items(), {"value": "max"})


def _drop_of_model(store: Store, model: str, limit: int) -> int:
    """Delete one model's old requests. Reads only the segments that contain some."""
    segments, having = schema.segments, schema.segment_kinds
    of_model = sa.select(schema.kinds.c.kind).where(schema.kinds.c.model == model)
    theirs = sa.select(having.c.segment).where(having.c.kind.in_(of_model))
    old = sa.select(segments.c.segment).where(segments.c.segment.in_(theirs), segments.c.first_at < limit)
    with store.read() as connection:
        old_segments = connection.scalars(old.order_by(segments.c.segment)).all()
    removed = 0
    for segment in old_segments:
        is_theirs = sa.and_(_is_in(segment), schema.exposures.c.kind.in_(of_model))
        with store.write() as connection:
            removed += _delete(store, connection, sa.and_(is_theirs, schema.exposures.c.at < limit))
            _forget_kinds(connection, segment)
    return removed


def _forget_kinds(connection: sa.Connection, segment: int) -> None:
    """Delete a segment's kinds that none of its remaining requests has; a segment that fills slowly outlives
    rollouts."""
    having, left = schema.segment_kinds, sa.select(schema.exposures.c.kind).where(_is_in(segment))
    connection.execute(sa.delete(having).where(having.c.segment == segment, having.c.kind.not_in(left)))


def _is_in(segment: int) -> sa.ColumnElement[bool]:
    first, end = ids_of(segment)
    return sa.and_(schema.exposures.c.id >= first, schema.exposures.c.id < end)


def _delete(store: Store, connection: sa.Connection, is_old: sa.ColumnElement[bool]) -> int:
    """Delete exposures, and count those whose rollout never became known."""
    exposures, unjudged = schema.exposures, schema.unjudged
    is_untallied = unjudged.c.exposure.in_(sa.select(exposures.c.id).where(is_old))
    untallied = connection.execute(sa.delete(unjudged).where(is_untallied)).rowcount
    store.count(connection, {Count.UNTALLIED: untallied})
    return connection.execute(sa.delete(exposures).where(is_old)).rowcount


def _give_up_orphans(store: Store) -> None:
    """Close outcomes that have waited for their rollout for longer than their requests were kept, as too late."""
    outcomes, exposures = schema.outcomes, schema.exposures
    is_open = outcomes.c.state == State.UNJUDGED
    is_orphan = sa.and_(is_open, ~sa.exists().where(exposures.c.id == outcomes.c.exposure))
    with store.write() as connection:
        gone = connection.execute(sa.update(outcomes).where(is_orphan).values(state=State.TOO_LATE))
        store.count(connection, {Count.TOO_LATE: gone.rowcount})


def _drop_bodies(store: Store, limit: int, limits: Mapping[str, int]) -> None:
    bodies = schema.bodies
    with store.write() as connection:
        connection.execute(sa.delete(bodies).where(bodies.c.at < limit))
        for model, each in limits.items():
            connection.execute(sa.delete(bodies).where(bodies.c.model == model, bodies.c.at < each))


def _drop_exposures(store: Store, segment: int, limit: int) -> int:
    """Delete a segment's old requests, and the segment itself once it is empty."""
    segments, ours = schema.segments, schema.segments.c.segment == segment
    with store.write() as connection:
        removed = _delete(store, connection, sa.and_(_is_in(segment), schema.exposures.c.at < limit))
        connection.execute(sa.update(segments).where(ours).values(first_at=limit))
        _forget_kinds(connection, segment)
        if connection.execute(sa.delete(segments).where(ours, segments.c.last_at < limit)).rowcount:
            connection.execute(sa.delete(schema.lookups).where(schema.lookups.c.segment == segment))
        return removed


def _is_dated(store: Store, segment: int) -> bool:
    """Whether a segment is deleted together with its day's table."""
    return not store.is_sqlite and ids_of(segment)[0] >= first_id(1)


def _drop_days(store: Store, limit: int) -> int:
    """Drop the tables of days that are old enough; returns how many requests they had."""
    if store.is_sqlite:
        return 0
    with store.read() as connection:
        days = days_before(connection, limit)
    removed = 0
    for day in days:
        with store.write() as connection:
            removed += _forget_day(store, connection, day)
        drop_day(store, day)
    return removed


def _forget_day(store: Store, connection: sa.Connection, day: int) -> int:
    """Delete the segments of a day's requests, and count requests whose rollout never became known."""
    first, end = first_id(day), first_id(day + 1)
    unjudged, segments = schema.unjudged, schema.segments
    waited = sa.delete(unjudged).where(unjudged.c.exposure >= first, unjudged.c.exposure < end)
    store.count(connection, {Count.UNTALLIED: connection.execute(waited).rowcount})
    ours = (segments.c.segment >= segment_of(first), segments.c.segment < segment_of(end))
    requests = connection.scalar(sa.select(sa.func.sum(segments.c.requests)).where(*ours))
    for table in (segments, schema.segment_kinds, schema.lookups):
        is_ours = sa.and_(table.c.segment >= segment_of(first), table.c.segment < segment_of(end))
        connection.execute(sa.delete(table).where(is_ours))
    return int(requests or 0)


def _drop_dated(store: Store, limit: int) -> None:
    """Delete kinds that no segment uses, and notes and samples of requests before the limit."""
    kinds, having = schema.kinds, schema.segment_kinds
    with store.write() as connection:
        connection.execute(sa.delete(kinds).where(~sa.exists().where(having.c.kind == kinds.c.kind)))
        connection.execute(sa.delete(schema.left_out).where(schema.left_out.c.last_at < limit))
        connection.execute(sa.delete(schema.samples).where(schema.samples.c.at < limit))


def _drop_outcomes(store: Store, limit: int) -> int:
    table = schema.outcomes
    is_old = sa.and_(table.c.received_at < limit, table.c.state.not_in(OPEN))
    old = sa.select(table.c.pk).where(is_old).order_by(table.c.received_at).limit(_LIMIT)
    with store.write() as connection:
        return connection.execute(sa.delete(table).where(table.c.pk.in_(old))).rowcount


def _drop_units(store: Store, limit: int) -> None:
    """Delete the units and header values of rollouts that have neither requests nor maturing scores left."""
    maturing, seen = schema.maturing, schema.seen
    last_seen = sa.select(seen.c.rollout, sa.func.max(seen.c.bucket)).group_by(seen.c.rollout)
    kept = (schema.units, schema.unit_metrics, schema.slice_values)
    with store.read() as connection:
        rollouts = {each for table in kept for each in connection.scalars(sa.select(table.c.rollout).distinct())}
        newest: dict[str, int] = dict(connection.execute(last_seen).tuples().all())
    for rollout in sorted(rollouts):
        if newest.get(rollout, 0) * 1_000_000 >= limit:
            continue
        lives = [sa.select(sa.exists().where(table.c.rollout == rollout)) for table in (schema.kinds, maturing)]
        with store.write() as connection:
            if not any(connection.scalar(query) for query in lives):
                for table in kept:
                    connection.execute(sa.delete(table).where(table.c.rollout == rollout))
