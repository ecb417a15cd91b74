"""Late labels of pairs: each outcome scores both answers of every stored pair of its request, once."""

from __future__ import annotations

import json
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from sluicegate.services.telemetry.outcomes.outcome import read_value
from sluicegate.services.telemetry.pairs.spec import ShadowSpec
from sluicegate.services.telemetry.pairs.sums import ALL, PairSums, rows_of
from sluicegate.services.telemetry.pairs.tally import take_label
from sluicegate.services.telemetry.store.pair_schema import pair_labels, pair_sums, pairs
from sluicegate.services.telemetry.store.schema import outcomes
from sluicegate.services.telemetry.store.store import Store, write_tallies
from sluicegate.services.telemetry.tally.spec_cache import SpecCache
from sluicegate.services.telemetry.tally.tally_accumulator import TallyAccumulator

_LIMIT = 1_000
"""The most labels handled in one transaction."""
_PATIENCE = 10_000_000
"""Microseconds between looks without new outcomes or pairs, since old ones may mature or be joined late."""


class Labels:
    """Scores the labels of stored pairs."""

    def __init__(self, store: Store, specs: SpecCache[ShadowSpec]) -> None:
        self._store = store
        self._specs = specs
        self._newest: tuple[object, ...] = ()
        self._looked_at = 0

    def score(self, now: int) -> int:
        """Score the labels that are old enough at `now` (microseconds), up to a limit; returns how many there were."""
        highest = [sa.select(sa.func.max(column)).scalar_subquery() for column in (outcomes.c.pk, pairs.c.id)]
        with self._store.read() as connection:
            newest = connection.execute(sa.select(*highest)).one()
            if tuple(newest) == self._newest and 0 <= now - self._looked_at < _PATIENCE:
                return 0
            rollouts = connection.scalars(sa.select(pairs.c.rollout).distinct()).all()
        self._newest, self._looked_at = tuple(newest), now
        specs = {rollout: self._specs.get(rollout, now) for rollout in rollouts}
        done = sum(self._score(rollout, spec, now) for rollout, spec in specs.items() if spec and spec.labelled)
        if done:
            self._newest = ()  # there may be more labels than one look handles
        return done

    def _score(self, rollout: str, spec: ShadowSpec, now: int) -> int:
        names = {metric.outcome or name for name, metric in spec.labelled}
        done = sa.exists().where(pair_labels.c.pair == pairs.c.id, pair_labels.c.outcome == outcomes.c.pk)
        age = max(metric.matures_after for _, metric in spec.labelled)
        query = (
            sa.select(pairs, outcomes.c.pk, outcomes.c.row, outcomes.c.name, outcomes.c.value)
            .join(outcomes, outcomes.c.rid == pairs.c.rid)
            .where(pairs.c.rollout == rollout, outcomes.c.name.in_(names), ~done)
            .where(pairs.c.at <= now - round(age * 1e6))
            .order_by(pairs.c.id, outcomes.c.pk)
            .limit(_LIMIT)
        )
        with self._store.read() as connection:
            if connection.execute(query.limit(1)).first() is None:
                return 0
        with self._store.write() as connection:
            rows = connection.execute(query).mappings().all()
            self._take(connection, rollout, spec, rows)
        return len(rows)

    def _take(self, connection: Connection, rollout: str, spec: ShadowSpec, rows: Sequence[RowMapping]) -> None:
        tallies, sums = TallyAccumulator(), PairSums()
        for row in rows:
            for name, metric in spec.labelled:
                if (metric.outcome or name) == row["name"] and not metric.has_open_cap:
                    at = (rollout, row["epoch"], row["bucket"], row["weight"])
                    answers = (row["served_prediction"], row["copied_prediction"])
                    values = take_label(tallies, at, (name, metric), row["row"], read_value(row["value"]), *answers)
                    _sum(sums, name, row, *values)
        write_tallies(self._store, connection, tallies)
        self._store.add(connection, pair_sums, rows_of(rollout, sums.tallies()))
        if rows:
            connection.execute(sa.insert(pair_labels), [{"pair": row["id"], "outcome": row["pk"]} for row in rows])


def _sum(sums: PairSums, name: str, row: RowMapping, stable: float | None, candidate: float | None) -> None:
    """Add the difference in quality on the same request, which the report shows by segment."""
    if stable is None or candidate is None:
        sums.count(f"quality {name}", "missing")
        return
    sums.add(f"quality {name}", "difference", candidate - stable, (ALL, *json.loads(row["segments"])))
