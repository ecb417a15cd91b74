"""Collector: access logs -> exposures -> tallies."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sqlalchemy.engine import Connection

from sluicegate.registry.words.access_log import End
from sluicegate.services.telemetry.outcomes.joining import Joiner
from sluicegate.services.telemetry.outcomes.unjudged import keep_unjudged
from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.telemetry.store.samples import keep_samples
from sluicegate.services.telemetry.store.segments import keep
from sluicegate.services.telemetry.store.slice_store import with_slices
from sluicegate.services.telemetry.store.store import Store, write_tallies
from sluicegate.services.telemetry.tailing.log_collector import BUCKET, LogCollector
from sluicegate.services.telemetry.tally.exposure import Exposure, read_exposure
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

Ended = tuple[Exposure, End]


class Collector(LogCollector[Ended | Count]):
    """Tails one access log into the store, and joins outcomes to what it read.

    A line is an exposure and how it ended, or the count that it belongs to.
    """

    def __init__(
        self, store: Store, log_path: Path, specs: SpecSource, clock: Callable[[], datetime], *,
        bucket: int = BUCKET, reopen: Callable[[], None] | None = None, asks: Callable[[str], bool] = lambda _: True,
    ) -> None:  # fmt: skip
        """`asks` tells whether requests of a model are kept outside of its rollouts too."""
        super().__init__(store, log_path, clock, reopen=reopen)
        self._asks = asks
        self._specs = SpecCache(specs)
        self._bucket = bucket
        self._joiner = Joiner(store, self._specs)
        self._chunk_specs: dict[str, RolloutSpec | None] = {}
        """Of the rollouts in the chunk under way."""
        self._asking: set[str] = set()
        """Of its models those whose requests are kept."""

    def collect(self) -> int:
        now = self._now()
        lines, is_level = self._read(now)
        self._has_more = not is_level
        self._joiner.join(now, is_level=is_level)
        return lines

    def _read_line(self, text: bytes) -> Ended | Count:
        exposure, end, is_shadow = read_exposure(text, self._bucket)
        if exposure is None:
            return Count.SHADOWS if is_shadow else Count.UNASSIGNED
        if b"\\u" in text:  # an escape may stand for what no database keeps
            exposure.require_storable()
        return exposure, end

    def _prepare(self, rows: list[Ended | Count], now: int) -> None:
        rollouts = {row[0].rollout for row in rows if not isinstance(row, Count) and row[0].rollout is not None}
        self._chunk_specs = {rollout: self._specs.get(rollout, now) for rollout in rollouts}
        models = {row[0].model for row in rows if not isinstance(row, Count)}
        self._asking = {model for model in models if self._asks(model)}

    def _is_kept(self, model: str, rollout: str | None) -> bool:
        """Whether an outcome, a copy or a body may be joined to a request; so may what is not known yet."""
        if model in self._asking:
            return True
        if rollout is None:
            return False
        spec = self._chunk_specs[rollout]
        return spec is None or spec.keeps_requests

    def _parted(self, exposures: list[Exposure]) -> tuple[list[Exposure], list[Exposure]]:
        """The requests that are kept, and those that are not."""
        origins = {(exposure.model, exposure.rollout) for exposure in exposures}
        refused = {origin for origin in origins if not self._is_kept(*origin)}
        if not refused:
            return exposures, []
        kept = [exposure for exposure in exposures if (exposure.model, exposure.rollout) not in refused]
        return kept, [exposure for exposure in exposures if (exposure.model, exposure.rollout) in refused]

    def _write(self, connection: Connection, rows: list[Ended | Count], counts: Counter[Count]) -> None:
        ended = [row for row in rows if not isinstance(row, Count)]
        exposures = with_slices(connection, [exposure for exposure, _ in ended])
        counts.update(row for row in rows if isinstance(row, Count))
        counts[Count.LINES] = len(rows) + counts[Count.QUARANTINED]
        counts[Count.EXPOSURES] = len(exposures)
        counts[Count.BY_NAME] = sum(exposure.audience is None for exposure in exposures)
        counts[Count.STOOD_IN] = sum(end is End.STOOD_IN for _, end in ended)
        counts[Count.ABANDONED] = sum(exposure.failed is None for exposure in exposures)
        kept, left_out = self._parted(exposures)
        counts[Count.LEFT_OUT] = len(left_out)
        before = keep(self._store, connection, kept, self._bucket)
        keep_samples(self._store, connection, exposures)
        self._store.add(connection, schema.left_out, _left_out(left_out), {"first_at": "min", "last_at": "max"})
        self._tally(connection, exposures, before)
        self._store.add(connection, schema.ends, end_rows(ended))
        self._joiner.wake(connection, kept, left_out)

    def _tally(self, connection: Connection, exposures: list[Exposure], before: int) -> None:
        sides = by_side(exposures)
        tallies, unknown = self._gather(sides)
        write_tallies(self._store, connection, tallies)
        self._store.add(connection, schema.seen, seen_rows(sides))
        self._store.add(connection, schema.latencies, latency_rows(sides))
        self._store.add(connection, schema.recent, recent_rows(exposures))
        for rollout in sorted(unknown):
            keep_unjudged(connection, rollout, before)

    def _gather(self, sides: dict[Side, Requests]) -> tuple[TallyAccumulator, set[str]]:
        """The tallies of what is known, and the rollouts whose metrics are not."""
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


def _left_out(exposures: list[Exposure]) -> list[tuple[str, int, int, int]]:
    """Rows for the table of what was not kept."""
    times: defaultdict[str, list[int]] = defaultdict(list)
    for exposure in exposures:
        times[exposure.model].append(exposure.at)
    return [(model, min(each), max(each), len(each)) for model, each in times.items()]
