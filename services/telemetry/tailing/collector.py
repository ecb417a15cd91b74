"""Collector: turns access logs into exposures and tallies."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from sqlalchemy.engine import Connection

from sluicegate.registry.words.access_log import End
from sluicegate.services.telemetry.outcomes.joining import Joiner
from sluicegate.services.telemetry.outcomes.unjudged import keep_unjudged
from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.telemetry.store.row_numbers import Numbers
from sluicegate.services.telemetry.store.samples import keep_samples
from sluicegate.services.telemetry.store.segments import keep
from sluicegate.services.telemetry.store.slice_store import with_slices
from sluicegate.services.telemetry.store.store import Store, write_tallies
from sluicegate.services.telemetry.store.waiting_copies import wake_copies
from sluicegate.services.telemetry.tailing.levels import Levels
from sluicegate.services.telemetry.tailing.log_collector import BUCKET, LogCollector
from sluicegate.services.telemetry.tally.batch import Batch, groups
from sluicegate.services.telemetry.tally.lines import Lines, Unreadable, read_lines
from sluicegate.services.telemetry.tally.recent import recent_rows
from sluicegate.services.telemetry.tally.spec import RolloutSpec, SpecSource
from sluicegate.services.telemetry.tally.spec_cache import SpecCache
from sluicegate.services.telemetry.tally.tally_accumulator import (
    Requests,
    TallyAccumulator,
    by_side,
    end_rows,
    is_judged,
    latency_rows,
    seen_rows,
)  # fmt: skip
from sluicegate.services.telemetry.tally.unit_accumulator import Side


class Collector(LogCollector[Lines]):
    """Tails one access log into the store, and joins outcomes to its requests."""

    begins_in_turn = False

    def __init__(
        self, store: Store, log_path: Path, specs: SpecSource, clock: Callable[[], datetime], *,
        bucket: int = BUCKET, reopen: Callable[[], None] | None = None, asks: Callable[[str], bool] = lambda _: True,
        levels: Levels | None = None, joins: bool = True,
    ) -> None:  # fmt: skip
        """`asks` tells whether requests of a model are stored even outside of its rollouts. With several gateways,
        `levels`

        are those of all their logs, and one of the collectors `joins` for all.
        """
        super().__init__(store, log_path, clock, reopen=reopen)
        self._asks = asks
        self._numbers = Numbers(store)
        self._specs = SpecCache(specs)
        self._bucket = bucket
        self._joiner = Joiner(store, self._specs)
        self._levels = levels or Levels([str(log_path)])
        self._joins = joins
        self._chunk_specs: dict[str, RolloutSpec | None] = {}
        """The specs of the rollouts in the present chunk."""
        self._asking: set[str] = set()
        """The models in the present chunk whose requests are always stored."""

    def collect(self) -> int:
        now = self._now()
        try:
            lines, is_level = self._read(now)
        except BaseException:
            self._numbers.forget()
            raise
        self._has_more = not is_level
        if is_level:
            self._levels.read(str(self._path), now)
        if self._joins:
            self._levels.look(now)
        if self._joins and self._levels.joins:
            self._joiner.join(now, read_until=self._levels.lowest())
        return lines

    def _read_lines(self, lines: Sequence[bytes]) -> tuple[Lines, list[Unreadable]]:
        return read_lines(lines, self._bucket)

    def _prepare(self, rows: Lines, now: int) -> None:
        if len(rows.batch):
            self._numbers.prepare(int(rows.batch.at.max()))
        kinds = rows.batch.kinds
        rollouts = {kind.rollout for kind in kinds if kind.rollout is not None}
        self._chunk_specs = {rollout: self._specs.get(rollout, now) for rollout in rollouts}
        self._asking = {model for model in {kind.model for kind in kinds} if self._asks(model)}

    def _is_kept(self, model: str, rollout: str | None) -> bool:
        """Whether an outcome, a copy or a body may be joined to a request; also if its rollout is not known yet."""
        if model in self._asking:
            return True
        if rollout is None:
            return False
        spec = self._chunk_specs[rollout]
        return spec is None or spec.keeps_requests

    def _parted(self, batch: Batch) -> tuple[Batch, Batch]:
        """The requests that are stored, and those that are left out."""
        is_kept = batch.flags(lambda kind: self._is_kept(kind.model, kind.rollout))
        if is_kept.all():
            return batch, batch.select(np.flatnonzero(~is_kept))
        return batch.select(np.flatnonzero(is_kept)), batch.select(np.flatnonzero(~is_kept))

    def _write(self, connection: Connection, rows: Lines, counts: Counter[Count]) -> None:
        if rows.batch.slices is not None:  # all writers must agree on which values are slices
            self._store.take_turn(connection)
        batch = with_slices(connection, rows.batch)
        counts[Count.SHADOWS] = rows.shadows
        counts[Count.UNASSIGNED] = rows.unassigned
        counts[Count.LINES] = len(rows) + counts[Count.QUARANTINED]
        counts[Count.EXPOSURES] = len(batch)
        counts[Count.BY_NAME] = int(batch.flags(lambda kind: kind.audience is None).sum())
        counts[Count.STOOD_IN] = int(np.array([end is End.STOOD_IN for end in rows.ends], np.bool_)[batch.kind].sum())
        counts[Count.ABANDONED] = int(batch.flags(lambda kind: kind.failed is None).sum())
        kept, left_out = self._parted(batch)
        counts[Count.LEFT_OUT] = len(left_out)
        ids = keep(self._store, connection, self._numbers, kept, self._bucket)
        wake_copies(self._store, connection, kept)
        keep_samples(self._store, connection, batch)
        self._store.add(connection, schema.left_out, _left_out(left_out), {"first_at": "min", "last_at": "max"})
        self._tally(connection, batch, ids)
        self._store.add(connection, schema.ends, end_rows(batch, rows.ends))
        self._joiner.wake(connection, kept, left_out)

    def _tally(self, connection: Connection, batch: Batch, ids: Sequence[range]) -> None:
        sides = by_side(batch)
        tallies, unknown = self._gather(sides)
        write_tallies(self._store, connection, tallies)
        self._store.add(connection, schema.seen, seen_rows(sides))
        self._store.add(connection, schema.latencies, latency_rows(sides))
        self._store.add(connection, schema.recent, recent_rows(batch))
        for rollout in sorted(unknown):
            keep_unjudged(connection, rollout, ids)

    def _gather(self, sides: dict[Side, Requests]) -> tuple[TallyAccumulator, set[str]]:
        """The tallies, and the rollouts whose metrics are not known yet."""
        tallies, unknown = TallyAccumulator(), set()
        for side, requests in sides.items():
            if not is_judged(side):
                continue
            spec = self._chunk_specs[side[0]]
            if spec is None:
                unknown.add(side[0])
            else:
                tallies.take_requests(side, requests, spec.measures)
        return tallies, unknown


def _left_out(batch: Batch) -> list[tuple[str, int, int, int]]:
    """Rows for the table of requests that were left out."""
    times: defaultdict[str, list[int]] = defaultdict(list)
    for (kind,), rows in groups(batch.kind):
        times[batch.kinds[kind].model] += batch.at[rows].tolist()
    return [(model, min(each), max(each), len(each)) for model, each in times.items()]
