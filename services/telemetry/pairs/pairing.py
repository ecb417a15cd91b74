"""Pairing: matches copies with their requests, whichever was read first, and counts each pair once.

A copy leaves its table in the transaction that adds its pair to the sums, so that a crash cannot separate the two.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from sluicegate.services.telemetry.pairs.cardinality import Bounds
from sluicegate.services.telemetry.pairs.comparison import Comparison, Unpaired, compare_pair
from sluicegate.services.telemetry.pairs.disagreement import Disagreement, differing, disagreement_of
from sluicegate.services.telemetry.pairs.disagreements import keep_worst
from sluicegate.services.telemetry.pairs.pair import Pair
from sluicegate.services.telemetry.pairs.spec import ShadowSpec
from sluicegate.services.telemetry.pairs.sums import PairSums, rows_of
from sluicegate.services.telemetry.pairs.tally import tally_pair
from sluicegate.services.telemetry.store.pair_schema import copies, pair_sums, pairs
from sluicegate.services.telemetry.store.segments import Finder
from sluicegate.services.telemetry.store.store import Store, write_tallies
from sluicegate.services.telemetry.store.waiting_copies import NEW, WAITING
from sluicegate.services.telemetry.tally.exposure import Exposure
from sluicegate.services.telemetry.tally.spec_cache import SpecCache
from sluicegate.services.telemetry.tally.tally_accumulator import TallyAccumulator

UNMATCHED_AFTER = 3_600_000_000
"""Microseconds after which a copy counts as unmatched if its request was never logged or its shadow is not known."""
UNJUDGED = "unjudged"
_LIMIT = 1_000
"""The most copies handled in one transaction."""


@dataclass
class _Work:
    """The results of a round of pairing."""

    sums: defaultdict[str, PairSums] = field(default_factory=lambda: defaultdict(PairSums))
    tallies: TallyAccumulator = field(default_factory=TallyAccumulator)
    stored: list[dict[str, Any]] = field(default_factory=list)
    disagreements: defaultdict[str, list[Disagreement]] = field(default_factory=lambda: defaultdict(list))
    paired: list[int] = field(default_factory=list)
    moves: list[dict[str, Any]] = field(default_factory=list)


class Pairer:
    """Pairs the copies in the store."""

    def __init__(self, store: Store, specs: SpecCache[ShadowSpec]) -> None:
        self._store = store
        self._specs = specs
        self._finder = Finder()
        self._bounds = Bounds()

    def pair(self, now: int) -> int:
        """Pair the copies that are ready, up to a limit; returns how many were handled. `now` in microseconds."""
        with self._store.read() as connection:
            new = sa.select(copies.c.rollout).where(copies.c.state == NEW).distinct()
            rollouts = connection.scalars(new).all()
        for rollout in rollouts:
            self._specs.get(rollout, now)  # fills the cache from the ledger, so that no transaction waits for that
        return self._pair(lambda rollout: self._specs.get(rollout, now)) if rollouts else 0

    def give_up(self, now: int) -> None:
        """Count copies as unmatched that have waited too long, and retry copies that wait for their rollout."""
        open_ = copies.c.state.in_((WAITING, UNJUDGED))
        old = sa.and_(open_, copies.c.at <= now - UNMATCHED_AFTER)
        with self._store.write() as connection:
            lost = sa.select(copies.c.rollout, sa.func.count()).where(old).group_by(copies.c.rollout)
            for rollout, n in connection.execute(lost).all():
                sums = PairSums()
                sums.count("pairs", "unmatched", n=n)
                self._store.add(connection, pair_sums, rows_of(rollout, sums.tallies()))
            connection.execute(sa.delete(copies).where(old))
            connection.execute(sa.update(copies).where(copies.c.state == UNJUDGED).values(state=NEW))

    def _pair(self, spec_of: Callable[[str], ShadowSpec | None]) -> int:
        query = sa.select(copies).where(copies.c.state == NEW).order_by(copies.c.id).limit(_LIMIT)
        work = _Work()
        with self._store.write() as connection:
            rows = connection.execute(query).mappings().all()
            requests = self._finder.by_request(connection, [row["rid"] for row in rows])
            for row in rows:
                self._take(connection, work, row, requests.get(row["rid"]), spec_of(row["rollout"]))
            self._write(connection, work)
        return len(rows)

    def _take(
        self, connection: Connection, work: _Work, row: RowMapping, request: tuple[int, Exposure] | None,
        spec: ShadowSpec | None,
    ) -> None:  # fmt: skip
        if spec is None or request is None:
            work.moves.append({"key": row["id"], "to": UNJUDGED if spec is None else WAITING})
            return
        pair = Pair(served=request[1], copied=Exposure(*json.loads(row["exposure"])))
        comparison = compare_with_stable(pair, spec)
        segments = self._bounds.segments(connection, row["rollout"], segments_of(pair, row, spec))
        work.paired.append(row["id"])
        work.sums[row["rollout"]].take(pair, comparison, segments)
        tally_pair(work.tallies, pair, comparison, spec)
        if isinstance(comparison, Comparison):
            work.stored.append(_stored(row["rollout"], pair, segments))
            by_metric = differing(comparison, spec.disagreements)
            work.sums[row["rollout"]].judge(pair, by_metric, segments)
            if comparison.differs():
                disagreement = disagreement_of(pair, comparison, segments, by_metric, show=spec.show_values)
                work.disagreements[row["rollout"]].append(disagreement)

    def _write(self, connection: Connection, work: _Work) -> None:
        for rollout, sums in work.sums.items():
            tallies = self._bounds.labels(connection, rollout, sums.tallies())
            self._store.add(connection, pair_sums, rows_of(rollout, tallies))
        write_tallies(self._store, connection, work.tallies)
        if work.stored:
            connection.execute(sa.insert(pairs), work.stored)
        for rollout, disagreements in work.disagreements.items():
            keep_worst(connection, self._store, rollout, disagreements)
        if work.paired:
            key = copies.c.id == sa.bindparam("key")
            connection.execute(sa.delete(copies).where(key), [{"key": each} for each in work.paired])
        if work.moves:
            moved = sa.update(copies).where(copies.c.id == sa.bindparam("key"))
            connection.execute(moved.values(state=sa.bindparam("to")), work.moves)


def compare_with_stable(pair: Pair, spec: ShadowSpec) -> Comparison | Unpaired:
    """The comparison of a pair; OTHER_BUILD if another build than stable answered the caller."""
    if pair.served.served is not None and pair.served.served != spec.stable:
        return Unpaired.OTHER_BUILD
    return compare_pair(pair.served, pair.copied, spec.kinds)


def segments_of(pair: Pair, row: RowMapping | dict[str, Any], spec: ShadowSpec) -> tuple[str, ...]:
    """The segments of a pair: its audience, and its value of each declared header."""
    values: Sequence[str | None] = json.loads(row["segments"])
    named = [f"{name}={value or '(none)'}" for name, value in zip(spec.segments, values, strict=False)]
    audience = pair.served.audience
    return (*((f"audience={audience}",) if audience else ()), *named)


def _stored(rollout: str, pair: Pair, segments: tuple[str, ...]) -> dict[str, Any]:
    copied = pair.copied
    return {
        "rollout": rollout, "rid": copied.rid, "key": crc32((copied.rid or "").encode()), "at": copied.at,
        "epoch": copied.epoch, "bucket": copied.bucket, "weight": copied.weight, "segments": json.dumps(segments),
        "served_prediction": pair.served.prediction, "copied_prediction": copied.prediction,
    }  # fmt: skip
