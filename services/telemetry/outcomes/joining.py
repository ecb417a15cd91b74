"""Joining: matches outcomes with their exposures, and adds each once to the tallies of the exposure's stratum.

An outcome's state changes in the transaction that adds its scores, so that a crash cannot separate the two. Only the
collector joins; all others only insert outcomes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from sluicegate.services.telemetry.outcomes.judging import Findings, judge
from sluicegate.services.telemetry.outcomes.outcome import State, read_value
from sluicegate.services.telemetry.outcomes.retention import KEPT_SINCE, kept_since
from sluicegate.services.telemetry.outcomes.unjudged import Unjudged
from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.telemetry.store.segments import Finder, by_id
from sluicegate.services.telemetry.store.store import Store, among, write_tallies
from sluicegate.services.telemetry.tally.batch import Batch
from sluicegate.services.telemetry.tally.exposure import Exposure
from sluicegate.services.telemetry.tally.scores import same
from sluicegate.services.telemetry.tally.spec import RolloutSpec
from sluicegate.services.telemetry.tally.spec_cache import SpecCache
from sluicegate.services.telemetry.tally.tally_accumulator import TallyAccumulator

SETTLE = 5_000_000
"""Microseconds that an outcome of a unit waits, so that requests just before it are in the log."""
UNKNOWN_AFTER = 3_600_000_000
"""Microseconds after which an outcome without an exposure becomes unknown, if the logs have been read up to there."""
_SWEEP = 1_000_000
"""Microseconds between checks of what rarely changes."""
_LIMIT = 2_000
"""The most outcomes handled in one transaction."""


class Joiner:
    """Joins the outcomes in the store; the collector tells it up to when the logs have been read."""

    def __init__(self, store: Store, specs: SpecCache[RolloutSpec]) -> None:
        self._store = store
        self._specs = specs
        self._unjudged = Unjudged(store, specs)
        self._finder = Finder()
        self._swept_at = 0

    def wake(self, connection: Connection, kept: Batch, left_out: Batch) -> None:
        """Release outcomes that wait for exposures in `kept`, and close those whose exposure was left out."""
        outcomes = schema.outcomes
        is_waiting = outcomes.c.state.in_((State.NEW, State.WAITING))
        if not connection.scalar(sa.select(sa.exists().where(is_waiting))):
            return
        for batch, state in ((kept, State.NEW), (left_out, State.UNASKED)):
            rids = [rid for rid in batch.rids if rid is not None]
            ours = sa.update(outcomes).where(is_waiting, among(self._store, outcomes.c.rid, rids))
            moved = connection.execute(ours.values(state=state)).rowcount if rids else 0
            self._store.count(connection, {Count.UNASKED: moved} if state is State.UNASKED else {})

    def join(self, now: int, *, read_until: int) -> None:
        """Join, score and tally all outcomes that are ready. All logs have been read up to `read_until`
        (microseconds)."""
        outcomes = schema.outcomes
        if self._has(outcomes.c.state == State.UNIT, outcomes.c.at <= read_until - SETTLE):
            self._join_units(read_until)
        if self._has(outcomes.c.state == State.NEW):
            self._join_predictions(now)
        if self._has(schema.maturing.c.due <= now):
            self._ripen(now)
        if not 0 <= now - self._swept_at < _SWEEP:  # also if the clock has been set back
            self._swept_at = now
            self._unjudged.judge(now)
            self._give_up(min(now, read_until))

    def _has(self, *conditions: sa.ColumnElement[bool]) -> bool:
        with self._store.read() as connection:
            return bool(connection.scalar(sa.select(sa.exists().where(*conditions))))

    def _join_predictions(self, now: int) -> None:
        table = schema.outcomes
        query = sa.select(table).where(table.c.state == State.NEW).order_by(table.c.pk).limit(_LIMIT)
        findings = Findings()
        with self._store.write() as connection:
            rows = connection.execute(query).mappings().all()
            located = self._locate(connection, rows)
            for row in rows:
                if row["pk"] not in located:
                    self._miss(findings, row)
                    continue
                number, exposure = located[row["pk"]]
                if row["model"] not in (None, exposure.model):
                    findings.move(row["pk"], State.UNKNOWN, None, Count.UNKNOWN)
                    continue
                judge(findings, dict(row), number, exposure, lambda rollout: self._specs.get(rollout, now), now)
            self._write(connection, findings)

    def _locate(self, connection: Connection, rows: Sequence[RowMapping]) -> dict[int, tuple[int, Exposure]]:
        """The id and exposure for each outcome whose exposure has been read, by the outcome's key."""
        numbers = {row["pk"]: row["exposure"] for row in rows if row["exposure"] is not None}
        exposures = by_id(connection, list(numbers.values()))
        rids = {row["pk"]: row["rid"] for row in rows if row["exposure"] is None}
        by_rid = self._finder.by_request(connection, rids.values()) if rids else {}
        located = {pk: by_rid[rid] for pk, rid in rids.items() if rid in by_rid}
        return located | {pk: (number, exposures[number]) for pk, number in numbers.items() if number in exposures}

    def _miss(self, findings: Findings, row: RowMapping) -> None:
        """Let an outcome wait for its exposure; if the exposure had been read and was deleted by age, it is too
        late."""
        if row["exposure"] is None:
            findings.move(row["pk"], State.WAITING, None)
        else:
            findings.move(row["pk"], State.TOO_LATE, row["exposure"], Count.TOO_LATE)

    def _write(self, connection: Connection, findings: Findings) -> None:
        write_tallies(self._store, connection, findings.tallies)
        if findings.maturing:
            connection.execute(sa.insert(schema.maturing), findings.maturing)
        if findings.states:
            moved = sa.update(schema.outcomes).where(schema.outcomes.c.pk == sa.bindparam("key"))
            values: dict[str, Any] = {"state": sa.bindparam("to"), "exposure": sa.bindparam("number")}
            connection.execute(moved.values(values), findings.states)
        self._store.count(connection, findings.counts)

    def _join_units(self, read_until: int) -> None:
        """Find the unit's last request before each outcome; from then on the outcome is handled like all others."""
        outcomes = schema.outcomes
        query = (
            sa.select(outcomes)
            .where(outcomes.c.state == State.UNIT, outcomes.c.at <= read_until - SETTLE)
            .order_by(outcomes.c.at, outcomes.c.id)
            .limit(_LIMIT)
        )
        with self._store.write() as connection:
            rows = connection.execute(query).mappings().all()
            counts = Counter(count for row in rows if (count := self._join_unit(connection, row)) is not None)
            self._store.count(connection, counts)

    def _ripen(self, now: int) -> None:
        """Tally the scores whose exposures are old enough by now."""
        table = schema.maturing
        query = sa.select(table).where(table.c.due <= now).order_by(table.c.due).limit(_LIMIT)
        tallies = TallyAccumulator()
        with self._store.write() as connection:
            rows = connection.execute(query).mappings().all()
            for row in rows:
                side = (row["rollout"], row["epoch"], row["bucket"], row["arm"], row["weight"])
                tallies.take_late(side, row["unit"], row["metric"], row["value"])
            write_tallies(self._store, connection, tallies)
            is_row = sa.and_(table.c.outcome == sa.bindparam("key"), table.c.metric == sa.bindparam("name"))
            if rows:
                keys = [{"key": row["outcome"], "name": row["metric"]} for row in rows]
                connection.execute(sa.delete(table).where(is_row), keys)

    def _give_up(self, read_until: int) -> None:
        """Close outcomes that have waited too long for their exposure, as unknown, unasked or too late."""
        outcomes = schema.outcomes
        is_late = (outcomes.c.state == State.WAITING, outcomes.c.received_at <= read_until - UNKNOWN_AFTER)
        if not self._has(*is_late):
            return
        with self._store.write() as connection:
            is_gone = outcomes.c.at < _kept_since(connection)
            gone = connection.execute(sa.update(outcomes).where(*is_late, is_gone).values(state=State.TOO_LATE))
            unasked = sa.update(outcomes).where(*is_late, _was_left_out(outcomes.c.model, outcomes.c.at))
            left_out = connection.execute(unasked.values(state=State.UNASKED))
            unknown = connection.execute(sa.update(outcomes).where(*is_late).values(state=State.UNKNOWN))
            counts = {Count.TOO_LATE: gone, Count.UNASKED: left_out, Count.UNKNOWN: unknown}
            self._store.count(connection, {count: moved.rowcount for count, moved in counts.items()})

    def _join_unit(self, connection: Connection, outcome: RowMapping) -> Count | None:
        """Assign a unit's outcome to its prediction. If there is none, returns the counter to increase."""
        table = schema.outcomes
        ours = sa.update(table).where(table.c.pk == outcome["pk"])
        last = self._finder.last_of_unit(connection, outcome["model"], outcome["unit"], outcome["at"])
        if last is None:
            state, count = _why_missing(connection, outcome["model"], outcome["at"])
            connection.execute(ours.values(state=state))
            return count
        number, exposure = last
        earlier = sa.select(table.c.value).where(
            table.c.rid == exposure.rid, table.c.row == 0, table.c.name == outcome["name"]
        )
        first = connection.scalar(earlier)
        if first is not None:
            connection.execute(ours.values(state=State.SUPERFLUOUS))
            return Count.DUPLICATE if same(read_value(first), read_value(outcome["value"])) else Count.CONTRADICTORY
        connection.execute(ours.values(rid=exposure.rid, row=0, exposure=number, state=State.NEW))
        return None


def _why_missing(connection: Connection, model: str, at: int) -> tuple[State, Count]:
    """Why a unit has no request before a time in microseconds, and the counter for that."""
    if at < _kept_since(connection, model):
        return State.TOO_LATE, Count.TOO_LATE
    if connection.scalar(sa.select(_was_left_out(sa.literal(model), sa.literal(at, sa.BigInteger)))):
        return State.UNASKED, Count.UNASKED
    return State.UNKNOWN, Count.UNKNOWN


def _was_left_out(model: sa.ColumnElement[str], at: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    """Whether requests of the model were left out before a time; if the model is not known, those of any model."""
    table = schema.left_out
    return sa.exists().where(sa.or_(model.is_(None), table.c.model == model), table.c.first_at <= at)


def _kept_since(connection: Connection, model: str | None = None) -> int:
    """The time in microseconds before which all requests have been deleted by age."""
    keys = [KEPT_SINCE] if model is None else [KEPT_SINCE, kept_since(model)]
    table = schema.state
    return connection.scalar(sa.select(sa.func.max(table.c.value)).where(table.c.key.in_(keys))) or 0
