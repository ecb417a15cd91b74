"""Queries: reads the telemetry from any process while the collector writes."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sluicegate.registry.plan.fields import MetricSpec, PredictionField
from sluicegate.registry.report.pulse import MINUTES, Pulse, pulse
from sluicegate.registry.report.report import ArmCounts, OutcomeCoverage, RequestsByArm
from sluicegate.registry.words.access_log import End
from sluicegate.registry.words.metric import REQUESTS, Arm, Stratum, TallyRow
from sluicegate.registry.words.tally import Tally, UnitSums
from sluicegate.services.telemetry.outcomes.outcome import OPEN, State, read_value
from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.telemetry.store.rows import summary_of
from sluicegate.services.telemetry.store.samples import durations_of, predictions_of
from sluicegate.services.telemetry.store.segments import WITH_KINDS
from sluicegate.services.telemetry.store.store import WATERMARK, Store
from sluicegate.services.telemetry.tally import histogram
from sluicegate.services.telemetry.tally.measurements import prediction
from sluicegate.services.telemetry.tally.recent import SECONDS
from sluicegate.services.telemetry.tally.scores import Missing, Summary, score_row

RECENT = 60
"""Seconds that `recent` and `shares` look back, rounded to whole buckets of ten seconds."""
_COUNTED = ("requests", "abandoned", "failed", "fallbacks")
_NEWEST = 100_000
"""The most outcomes that `stable_size` searches, of all names and models."""


@dataclass(frozen=True, kw_only=True)
class Recent:
    """A build's requests in one variation during the last minute."""

    variation: str
    build: str
    requests_per_second: float
    error_share: float
    """Requests that failed, or whose client left."""
    p50: float | None
    """Seconds, to within 12 %."""
    p95: float | None
    p99: float | None


@dataclass(frozen=True, kw_only=True)
class Latency:
    """How long clients waited, in seconds, to within 12 %."""

    requests: int
    p50: float
    p95: float
    p99: float
    counts: Mapping[int, int]
    """Requests by bin, see `sluicegate.services.telemetry.tally.histogram`."""

    @classmethod
    def from_counts(cls, counts: Mapping[int, int]) -> Latency:
        """From requests by bin, of which there is at least one."""
        p50, p95, p99 = (histogram.quantile(counts, q) or 0.0 for q in (0.5, 0.95, 0.99))
        return cls(requests=sum(counts.values()), p50=p50, p95=p95, p99=p99, counts=counts)


@dataclass(frozen=True, kw_only=True)
class Body:
    """A captured request and its answer as JSON; None for parts that the plan does not capture."""

    rid: str
    model: str
    build: str
    at: int
    """Microseconds since 1970."""
    features: str | None
    predictions: str | None
    headers: str | None


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """A line in quarantine."""

    log: str
    read_at: int
    reason: str
    line: str


class Queries:
    """Reads a store. Every method reads one consistent state of the database."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    def tallies(self, rollout: str) -> tuple[int, tuple[TallyRow, ...]]:
        """The watermark, and the rollout's cumulative tallies at it, sorted by metric, stratum, weight and arm. They
        include the numbers of requests, which labels are compared with."""
        with self._store.read() as connection:
            tallies = {key: Tally(*sums) for key, sums in _sums(connection, schema.tallies, rollout)}
            units = {key: UnitSums(*sums) for key, sums in _sums(connection, schema.unit_sums, rollout)}
            tallies |= {key: Tally(n=requests) for key, requests in _requests(connection, rollout)}
            watermark = _watermark(connection)
        keys = sorted({*tallies, *units})
        return watermark, tuple(_row(key, tallies.get(key, Tally()), units.get(key)) for key in keys)

    def watermark(self) -> int:
        """A number that increases whenever a tally changes."""
        with self._store.read() as connection:
            return _watermark(connection)

    def progress(self, rollout: str, epoch: int) -> int:
        """The number of requests assigned to the candidate in this epoch whose client waited for the answer."""
        candidate = self.requests_by_arm(rollout, epoch).candidate
        return candidate.requests - candidate.abandoned

    def requests_by_arm(self, rollout: str, epoch: int | None = None) -> RequestsByArm:
        """The number of requests by arm, in one epoch or in all."""
        return self.all_requests_by_arm([(rollout, epoch)])[rollout, epoch]

    def all_requests_by_arm(
        self, wanted: Collection[tuple[str, int | None]]
    ) -> dict[tuple[str, int | None], RequestsByArm]:
        """The same as `requests_by_arm` for many rollouts, each in its given epoch or in all."""
        sums = _by_epoch(schema.seen, wanted, (), _COUNTED)
        ended = _by_epoch(schema.ends, wanted, ("ended",), ("requests",))
        counted: dict[tuple[str, int | None, str], Counter[str]] = defaultdict(Counter)
        ends: dict[tuple[str, int | None, str], Counter[str]] = defaultdict(Counter)
        with self._store.read() as connection:
            for rollout, epoch, arm, end, n in connection.execute(ended):
                for each in (epoch, None):
                    ends[rollout, each, arm][End(end)] += int(n)
            for rollout, epoch, arm, *found in connection.execute(sums):
                for each in (epoch, None):
                    counted[rollout, each, arm].update(dict(zip(_COUNTED, map(int, found), strict=True)))
        seen = {key: ArmCounts(**sums, ends=ends[key]) for key, sums in counted.items()}
        arms = (Arm.STABLE, Arm.CANDIDATE)
        return {
            key: RequestsByArm(**{arm.value: seen.get((*key, arm.value), ArmCounts()) for arm in arms})
            for key in wanted
        }

    def generated(self, rollouts: Collection[str]) -> dict[str, dict[Arm, int]]:
        """The number of generated requests by rollout and arm. They are in the tallies, but in no other count."""
        table = schema.generated
        query = sa.select(table.c.rollout, table.c.arm, table.c.requests).where(table.c.rollout.in_(rollouts))
        found: dict[str, dict[Arm, int]] = {rollout: {} for rollout in rollouts}
        with self._store.read() as connection:
            for rollout, arm, n in connection.execute(query):
                found[rollout][Arm(arm)] = int(n)
        return found

    def stable_quantile(self, model: str, version: str, q: float, limit: int = 5_000) -> tuple[float, int] | None:
        """The q-quantile in seconds of the newest `limit` durations of a build, and their number; None without any.

        The value is an observed one: the smallest with at least a share q of the durations at or below it.
        """
        durations = sorted(self.history(model, version, limit))
        if not durations:
            return None
        return durations[max(math.ceil(q * len(durations)) - 1, 0)], len(durations)

    def history(self, model: str, version: str, limit: int = 5_000) -> tuple[float, ...]:
        """Durations in seconds of the newest requests to a build whose client waited for the answer, newest first."""
        with self._store.read() as connection:
            return tuple(each / 1e6 for each in islice(durations_of(connection, model, version), limit))

    def stable_predictions(
        self, model: str, version: str, field: PredictionField | None, levels: Sequence[float], limit: int = 5_000
    ) -> tuple[tuple[float, ...], int] | None:
        """Quantiles of the newest `limit` predictions of a build, and their number; None without any.

        Each is an observed value: the smallest with at least its share of the predictions at or below it.
        """
        with self._store.read() as connection:
            newest = islice(predictions_of(connection, model, version), limit)
            predictions = [prediction(Summary(text), field) for text in newest]
        values = sorted(value for value in predictions if value is not None)
        if not values:
            return None
        return tuple(values[max(math.ceil(q * len(values)) - 1, 0)] for q in levels), len(values)

    def stable_size(
        self, model: str, version: str, name: str, metric: MetricSpec, q: float, limit: int = 5_000
    ) -> tuple[float, int] | None:
        """The q-quantile of the absolute values of the newest `limit` scores of a build, and their number; None without
        scores, or if all are 0. It is an observed value; if the quantile is 0, the largest one.

        Only outcomes that are already joined count, so that no value that is yet to be compared affects its own cap.
        """
        outcomes, exposures, kinds = schema.outcomes, schema.exposures, schema.kinds
        newest = sa.select(sa.func.max(outcomes.c.pk)).scalar_subquery()
        query = (
            sa.select(outcomes.c.value, outcomes.c.row, kinds.c.head, exposures.c.answer)
            .select_from(WITH_KINDS.join(outcomes, exposures.c.id == outcomes.c.exposure))
            .where(outcomes.c.pk > newest - _NEWEST, outcomes.c.name == (metric.outcome or name))
            .where(outcomes.c.state.in_((State.SCORED, State.UNNAMED, State.UNCOMPARED)))
            .where(kinds.c.audience.is_not(None), kinds.c.model == model, kinds.c.assigned == version)
            .where(kinds.c.served == version)
            .order_by(outcomes.c.pk.desc())
            .limit(limit)
        )
        with self._store.read() as connection:
            scores = [
                score_row(name, metric, Summary(summary_of(head, answer)), row or 0, read_value(value))
                for value, row, head, answer in connection.execute(query)
            ]
        sizes = sorted(abs(score) for score in scores if not isinstance(score, Missing))
        if not sizes or not sizes[-1]:
            return None
        return sizes[max(math.ceil(q * len(sizes)) - 1, 0)] or sizes[-1], len(sizes)

    def coverage(self, rollout: str, metric: str) -> OutcomeCoverage:
        """How many of a rollout's compared requests have a value of a metric."""
        requests, tallies, maturing = schema.seen, schema.tallies, schema.maturing
        is_judged = (requests.c.rollout == rollout, requests.c.weight > 0)
        values = sa.func.sum(tallies.c.n + tallies.c.missing)
        with self._store.read() as connection:
            exposures = connection.scalar(sa.select(sa.func.sum(requests.c.requests)).where(*is_judged))
            labelled = connection.scalar(
                sa.select(values).where(tallies.c.rollout == rollout, tallies.c.metric == metric)
            )
            pending = connection.scalar(
                sa.select(sa.func.count()).where(maturing.c.rollout == rollout, maturing.c.metric == metric)
            )
        return OutcomeCoverage(
            metric=metric, exposures=int(exposures or 0), labelled=int(labelled or 0), pending=int(pending or 0)
        )  # fmt: skip

    def counters(self) -> dict[Count, int]:
        """Every counter, including those at 0."""
        table = schema.counters
        with self._store.read() as connection:
            stored = dict(connection.execute(sa.select(table.c.name, table.c.n)).tuples().all())
        return {count: stored.get(count.value, 0) for count in Count}

    def waiting(self) -> dict[str, int]:
        """What waits to be tallied: outcomes by state, exposures of unknown rollouts, scores that are not old
        enough."""
        outcomes, unjudged, maturing = schema.outcomes, schema.unjudged, schema.maturing
        by_state = sa.select(outcomes.c.state, sa.func.count()).where(outcomes.c.state.in_(OPEN))
        with self._store.read() as connection:
            counts: dict[str, int] = dict(connection.execute(by_state.group_by(outcomes.c.state)).tuples().all())
            exposures = connection.scalar(sa.select(sa.func.count()).select_from(unjudged))
            scores = connection.scalar(sa.select(sa.func.count()).select_from(maturing))
        return {f"outcomes_{state}": counts.get(state.value, 0) for state in OPEN} | {
            "exposures_unjudged": exposures or 0,
            "scores_maturing": scores or 0,
        }

    def recent(self, models: Collection[str]) -> dict[str, tuple[Recent, ...]]:
        """The last minute of each build of these models that had requests, sorted by variation and build."""
        table = schema.recent
        now = self._clock().timestamp()
        since = (now - RECENT) // SECONDS * SECONDS
        query = sa.select(table).where(table.c.model.in_(models), table.c.at >= since)
        counts: dict[tuple[str, str, str], Counter[int]] = defaultdict(Counter)
        failed: Counter[tuple[str, str, str]] = Counter()
        with self._store.read() as connection:
            for row in connection.execute(query):
                counts[row.model, row.variation, row.build][row.bin] += row.requests
                failed[row.model, row.variation, row.build] += row.failed
        found: dict[str, tuple[Recent, ...]] = dict.fromkeys(models, ())
        for key in sorted(counts):
            found[key[0]] += (_recent(key[1:], counts[key], failed[key], now - since),)
        return found

    def pulses(self, models: Collection[str]) -> dict[str, Pulse]:
        """The requests of these models in the last whole minutes, of all builds of a model together."""
        table, minute = schema.recent, int(self._clock().timestamp()) // 60
        begins = table.c.at - table.c.at % 60
        sums = sa.func.sum(table.c.requests), sa.func.sum(table.c.failed)
        query = sa.select(table.c.model, begins, *sums).group_by(table.c.model, begins)
        query = query.where(table.c.model.in_(models), table.c.at >= 60 * (minute - MINUTES))
        found: dict[str, dict[int, tuple[int, int]]] = {model: {} for model in models}
        with self._store.read() as connection:
            for model, at, n, failed in connection.execute(query):
                found[model][int(at) // 60] = int(n), int(failed)
        return {model: pulse(counts, minute) for model, counts in found.items()}

    def shares(self, models: Collection[str]) -> dict[str, dict[tuple[str, str, str, str], int]]:
        """The number of requests of these models in the last minute by audience, variation, build and arm."""
        table = schema.recent
        columns = (table.c.model, table.c.audience, table.c.variation, table.c.build, table.c.arm)
        since = (self._clock().timestamp() - RECENT) // SECONDS * SECONDS
        query = sa.select(*columns, sa.func.sum(table.c.requests)).group_by(*columns)
        query = query.where(table.c.model.in_(models), table.c.at >= since, table.c.audience != "")
        found: dict[str, dict[tuple[str, str, str, str], int]] = {model: {} for model in models}
        with self._store.read() as connection:
            for model, *key, n in connection.execute(query):
                audience, variation, build, arm = key
                found[model][audience, variation, build, arm] = int(n)
        return found

    def latencies(self, rollouts: Collection[str]) -> dict[str, dict[Arm, Latency]]:
        """The latency of each arm of these rollouts; an arm without durations is left out."""
        table = schema.latencies
        columns = (table.c.rollout, table.c.arm, table.c.bin)
        query = sa.select(*columns, sa.func.sum(table.c.requests)).where(table.c.rollout.in_(rollouts))
        counts: dict[str, dict[Arm, dict[int, int]]] = {rollout: defaultdict(dict) for rollout in rollouts}
        with self._store.read() as connection:
            for rollout, arm, number, n in connection.execute(query.group_by(*columns)):
                counts[rollout][Arm(arm)][number] = int(n)
        return {
            rollout: {arm: Latency.from_counts(bins) for arm, bins in sorted(arms.items())}
            for rollout, arms in counts.items()
        }

    def bodies(self, request_id: str) -> tuple[Body, ...]:
        """The captured bodies of one request, sorted by model and build."""
        table = schema.bodies
        query = sa.select(table).where(table.c.rid == request_id).order_by(table.c.model, table.c.build)
        with self._store.read() as connection:
            return tuple(Body(**row) for row in connection.execute(query).mappings())

    def quarantined(self, limit: int = 20) -> tuple[Unreadable, ...]:
        """The newest lines that could not be read, newest first."""
        table = schema.quarantine
        query = sa.select(table).order_by(table.c.id.desc()).limit(limit)
        with self._store.read() as connection:
            return tuple(
                Unreadable(log=row["log"], read_at=row["read_at"], reason=row["reason"], line=row["line"])
                for row in connection.execute(query).mappings()
            )


def _watermark(connection: Connection) -> int:
    query = sa.select(schema.state.c.value).where(schema.state.c.key == WATERMARK)
    return connection.scalar(query) or 0


_Key = tuple[str, int, int, int, str]
"""Metric, epoch, bucket, weight, arm."""


_KEY = ("metric", "epoch", "bucket", "weight", "arm")


def _sums(connection: Connection, table: sa.Table, rollout: str) -> Iterator[tuple[_Key, Sequence[Any]]]:
    """A rollout's rows of a table of sums, by key."""
    sums = (column for column in table.c if not column.primary_key)
    query = sa.select(*(table.c[name] for name in _KEY), *sums).where(table.c.rollout == rollout)
    for metric, epoch, bucket, weight, arm, *values in connection.execute(query):
        yield (metric, epoch, bucket, weight, arm), values


def _requests(connection: Connection, rollout: str) -> Iterator[tuple[_Key, int]]:
    """The number of a rollout's compared requests, by key."""
    table = schema.seen
    columns = (table.c[name] for name in ("epoch", "bucket", "weight", "arm", "requests"))
    is_judged = (table.c.rollout == rollout, table.c.weight > 0)
    for epoch, bucket, weight, arm, requests in connection.execute(sa.select(*columns).where(*is_judged)):
        yield (REQUESTS, epoch, bucket, weight, arm), requests


def _row(key: _Key, tally: Tally, units: UnitSums | None) -> TallyRow:
    metric, epoch, bucket, weight, arm = key
    stratum = Stratum(epoch=epoch, bucket=bucket)
    return TallyRow(metric=metric, stratum=stratum, weight=weight, arm=Arm(arm), tally=tally, units=units)


def _by_epoch(
    table: sa.Table, wanted: Collection[tuple[str, int | None]], also: Sequence[str], counted: Sequence[str]
) -> sa.Select[Any]:
    """Sums of a table by rollout, epoch, arm and `also`, of the rollouts and epochs that are wanted."""
    key = [table.c[name] for name in ("rollout", "epoch", "arm", *also)]
    query = sa.select(*key, *(sa.func.sum(table.c[name]) for name in counted)).group_by(*key)
    epochs = {epoch for _, epoch in wanted}
    query = query.where(table.c.rollout.in_({rollout for rollout, _ in wanted}))
    return query if None in epochs else query.where(table.c.epoch.in_(epochs))


def _recent(key: Sequence[str], counts: Counter[int], failed: int, seconds: float) -> Recent:
    requests = counts.total()
    return Recent(
        variation=key[0],
        build=key[1],
        requests_per_second=requests / seconds,
        error_share=failed / requests,
        p50=histogram.quantile(counts, 0.5),
        p95=histogram.quantile(counts, 0.95),
        p99=histogram.quantile(counts, 0.99),
    )
