"""Unjudged: exposures and outcomes that were read before their rollout's metrics were known.

This happens while the ledger cannot be reached, for example. They wait here and are tallied once the metrics are known.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sluicegate.services.telemetry.outcomes.outcome import State
from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.store.rows import exposure_of
from sluicegate.services.telemetry.store.segments import COLUMNS, WITH_KINDS
from sluicegate.services.telemetry.store.store import Store, write_tallies
from sluicegate.services.telemetry.tally.batch import Batch
from sluicegate.services.telemetry.tally.spec import RolloutSpec
from sluicegate.services.telemetry.tally.spec_cache import SpecCache
from sluicegate.services.telemetry.tally.tally_accumulator import TallyAccumulator, by_side

_LIMIT = 5_000
"""The most exposures handled in one transaction."""


def keep_unjudged(connection: Connection, rollout: str, ids: Sequence[range]) -> None:
    """Store the compared exposures with these ids, of a rollout whose metrics are not known yet."""
    exposures, kinds = schema.exposures, schema.kinds
    ours = sa.select(exposures.c.id, kinds.c.rollout).select_from(WITH_KINDS).where(
        sa.or_(*(exposures.c.id.between(each[0], each[-1]) for each in ids)),
        kinds.c.rollout == rollout, kinds.c.weight > 0,
    )  # fmt: skip
    connection.execute(sa.insert(schema.unjudged).from_select(["exposure", "rollout"], ours))


class Unjudged:
    """Tallies exposures and releases outcomes once their rollout is known."""

    def __init__(self, store: Store, specs: SpecCache[RolloutSpec]) -> None:
        self._store = store
        self._specs = specs

    def judge(self, now: int) -> None:
        """Tally the exposures and release the outcomes of every rollout that is known now; `now` in microseconds."""
        with self._store.read() as connection:
            of_exposures = connection.scalars(sa.select(schema.unjudged.c.rollout).distinct()).all()
            of_outcomes = connection.scalars(_rollouts_of_outcomes()).all()
        for rollout in of_exposures:
            spec = self._specs.get(rollout, now)
            if spec is not None:
                self._tally(rollout, spec)
        for rollout in of_outcomes:
            if self._specs.get(rollout, now) is not None:
                self._release(rollout)

    def _tally(self, rollout: str, spec: RolloutSpec) -> None:
        exposures, waiting = schema.exposures, schema.unjudged
        query = (
            sa.select(waiting.c.exposure, *COLUMNS)
            .select_from(WITH_KINDS.join(waiting, exposures.c.id == waiting.c.exposure))
            .where(waiting.c.rollout == rollout)
            .order_by(waiting.c.exposure)
            .limit(_LIMIT)
        )
        tallies = TallyAccumulator()
        with self._store.write() as connection:
            rows = connection.execute(query).all()
            for side, requests in by_side(Batch.of([exposure_of(row[1:]) for row in rows])).items():
                tallies.take_requests(side, requests, spec.measures)
            write_tallies(self._store, connection, tallies)
            if rows:
                done = sa.delete(waiting).where(waiting.c.exposure == sa.bindparam("key"))
                connection.execute(done, [{"key": row[0]} for row in rows])

    def _release(self, rollout: str) -> None:
        outcomes, exposures = schema.outcomes, schema.exposures
        waiting = outcomes.c.state == State.UNJUDGED
        joined = WITH_KINDS.join(outcomes, outcomes.c.exposure == exposures.c.id)
        ours = sa.select(exposures.c.id).select_from(joined).where(waiting, schema.kinds.c.rollout == rollout)
        released = sa.update(outcomes).where(waiting, outcomes.c.exposure.in_(ours))
        with self._store.write() as connection:
            connection.execute(released.values(state=State.NEW))


def _rollouts_of_outcomes() -> sa.Select[tuple[str]]:
    outcomes, exposures, rollout = schema.outcomes, schema.exposures, schema.kinds.c.rollout
    query = sa.select(rollout).select_from(WITH_KINDS.join(outcomes, outcomes.c.exposure == exposures.c.id))
    return query.where(outcomes.c.state == State.UNJUDGED, rollout.is_not(None)).distinct()
