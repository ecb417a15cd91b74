"""TallyAccumulator: collects sums during one transaction, to be added to the tables in few rows. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from sluicegate.registry.words.access_log import End
from sluicegate.registry.words.metric import REQUESTS
from sluicegate.registry.words.slices import Slice, sliced_name
from sluicegate.registry.words.tally import Tally
from sluicegate.services.telemetry.tally.accumulator import Accumulator
from sluicegate.services.telemetry.tally.answers import Answers
from sluicegate.services.telemetry.tally.batch import NO_DURATION, Batch, Floats, Ints, counted, groups, integers
from sluicegate.services.telemetry.tally.exposure import Exposure
from sluicegate.services.telemetry.tally.histogram import bins_of
from sluicegate.services.telemetry.tally.slicing import slice_at, stratum_bucket
from sluicegate.services.telemetry.tally.spec import Measures, Slicing
from sluicegate.services.telemetry.tally.unit_accumulator import Side, UnitAccumulator, keys_of, row_of
from sluicegate.services.telemetry.tally.unit_sheet import UnitSheet, Values


class Requests:
    """The requests of one side: one rollout, epoch, bucket, arm and weight."""

    def __init__(self, batch: Batch, rows: Ints) -> None:
        """`rows` are their rows in the batch."""
        self.batch = batch
        self.rows = rows
        sizes: list[int] = np.bincount(batch.kind[rows], minlength=len(batch.kinds)).tolist()
        kinds = [(kind, n) for kind, n in zip(batch.kinds, sizes, strict=True) if n]
        self.abandoned = sum(n for kind, n in kinds if kind.failed is None)
        self.failed = sum(n for kind, n in kinds if kind.failed == 1)
        self.fallbacks = sum(n for kind, n in kinds if kind.served not in (kind.assigned, None))
        durations = batch.duration[rows]
        is_timed = batch.flags(lambda kind: kind.is_timed)[rows]
        self.durations = np.sort(durations[is_timed & (durations != NO_DURATION)])
        """The durations in microseconds, sorted, of requests whose client stayed; some requests have none."""
        self.timeless = int((batch.flags(lambda kind: kind.failed == 1)[rows] & (durations == NO_DURATION)).sum())
        """The number of requests without a duration although the client stayed."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def errors(self) -> int:
        """The number of requests that the assigned build failed, or whose client left before the answer."""
        return self.failed + self.abandoned

    @cached_property
    def answers(self) -> Answers:
        """The answers of requests that got a prediction from the assigned build."""
        answered = self.rows[self.batch.flags(lambda kind: kind.is_answered)[self.rows]]
        return Answers([self.batch.predictions[row] for row in answered.tolist()])


class TallyAccumulator:
    """Sums to be added to the tallies, by side and metric."""

    def __init__(self) -> None:
        self._sums = Accumulator[tuple[Side, str]]()
        self.units = UnitAccumulator()
        """Late values by unit, if units keep their arm."""
        self.sheets: defaultdict[str, UnitSheet] = defaultdict(UnitSheet)
        """Requests by unit, for each rollout."""

    def __bool__(self) -> bool:
        return bool(self._sums or self.units or self.sheets)

    def take(self, side: Side, metric: str, value: float | None) -> None:
        """Add one value of a metric; None means missing."""
        self._sums.take(_cell(side, metric), value)

    def take_late(self, side: Side, unit: str | None, metric: str, value: float | None) -> None:
        """Add a value that arrived after its request. `unit` is None if requests are not counted by unit, and empty if
        the request has none."""
        self.take(side, metric, value)
        if unit is not None:
            self.units.take(side, unit, row_of(((metric, value),)))

    def take_requests(self, side: Side, requests: Requests, measures: Measures) -> None:
        """Add the metrics that need no label."""
        for metric, tally in _endings(requests, measures):
            self._sums.add((side, metric), tally)
        if measures.judges_answers or measures.by_unit:
            self._take_each(side, requests, measures)
        for slicing in measures.slicings:
            self._take_slices(side, requests, slicing, measures.only(slicing.metrics))

    def _take_each(self, side: Side, requests: Requests, measures: Measures) -> None:
        """Add what needs each request separately: answers, and everything by unit."""
        for metric, tally in _answers(requests, measures):
            self._sums.add(_cell(side, metric), tally)
        if not measures.by_unit:
            return
        units = [requests.batch.units[row] or "" for row in requests.rows.tolist()]
        has_unit = np.fromiter(map(bool, units), np.bool_, len(units))
        values = list(_values(requests, measures))
        for slicing in measures.slicings:
            values += _sliced(values, requests, slicing)
        self.sheets[side[0]].take(side, keys_of(units), has_unit, values)

    def _take_slices(self, side: Side, requests: Requests, slicing: Slicing, measures: Measures) -> None:
        """Add the same for each slice by one header."""
        slices: defaultdict[Slice, list[int]] = defaultdict(list)
        texts = requests.batch.slices
        for row in requests.rows.tolist():
            slices[slice_at(texts[row] if texts else None, slicing.position, slicing.header)].append(row)
        for part, rows in slices.items():
            of_part = Requests(requests.batch, integers(rows))
            for metric, tally in (*_endings(of_part, measures), *_answers(of_part, measures)):
                self._sums.add(_cell(side, sliced_name(metric, part)), tally)
            if slicing.has_labels:
                self._sums.add(_cell(side, sliced_name(REQUESTS, part)), Tally(n=len(rows)))

    def rows(self) -> list[tuple[Any, ...]]:
        """Rows for the table of tallies."""
        tallies = self._sums.tallies()
        return [(rollout, metric, *stratum, *tally) for ((rollout, *stratum), metric), tally in tallies.items()]


def _cell(side: Side, metric: str) -> tuple[Side, str]:
    """The key under which a metric is counted."""
    rollout, epoch, bucket, arm, weight = side
    return (rollout, epoch, stratum_bucket(metric, bucket), arm, weight), metric


def _sliced(values: Sequence[Values], requests: Requests, slicing: Slicing) -> Iterator[Values]:
    """The same values, for the slices of their requests by one header."""
    parts = dict[Slice, int]()
    texts = requests.batch.slices
    which = [
        parts.setdefault(slice_at(texts[row] if texts else None, slicing.position, slicing.header), len(parts))
        for row in requests.rows.tolist()
    ]
    place = integers(which)
    for part, number in parts.items():
        for metric, row, value in values:
            if metric in slicing.metrics:
                is_in = place[row] == number
                yield Values(sliced_name(metric, part), row[is_in], value[is_in])


def _values(requests: Requests, measures: Measures) -> Iterator[Values]:
    """The values of each request by metric; rows are indexes into `requests.rows`."""
    batch, rows = requests.batch, requests.rows
    every = np.arange(len(rows))
    durations = batch.duration[rows]
    waited = every[batch.flags(lambda kind: kind.is_timed)[rows] & (durations != NO_DURATION)]
    for metric in measures.statuses:
        yield Values(metric, every, batch.flags(lambda kind: kind.is_error)[rows].astype(np.float64))
    for metric, limit in measures.limits:
        yield Values(metric, waited, (durations[waited] > limit).astype(np.float64))
    for metric, cap in measures.means:
        yield Values(metric, waited, np.minimum(durations[waited] / 1e6, cap))
    if not measures.judges_answers:
        return
    answered, answers = every[batch.flags(lambda kind: kind.is_answered)[rows]], requests.answers
    for metric in measures.contracts:
        yield Values(metric, answered, answers.broken)
    for predicted in measures.predictions:
        first = answers.first(predicted.field)
        yield Values(predicted.name, answered, first)
        present = ~np.isnan(first)
        for metric, limit in predicted.levels:
            yield Values(metric, answered[present], (first[present] > limit).astype(np.float64))


def _endings(requests: Requests, measures: Measures) -> Iterator[tuple[str, Tally]]:
    """The tallies of metrics that use the status and the durations of requests."""
    for metric in measures.statuses:
        yield metric, Tally.from_events(len(requests), requests.errors)
    durations = requests.durations
    for metric, limit in measures.limits:
        above = len(durations) - int(np.searchsorted(durations, limit, side="right"))
        yield metric, Tally.from_events(len(durations), above, requests.timeless)
    for metric, cap in measures.means:
        seconds = Tally.from_values(np.minimum(durations / 1e6, cap).tolist())
        yield metric, seconds._replace(missing=requests.timeless)


def _answers(requests: Requests, measures: Measures) -> Iterator[tuple[str, Tally]]:
    """The tallies of metrics that use the answers to requests; none if no request was answered."""
    if not (measures.judges_answers and requests.answers):
        return
    for metric in measures.contracts:
        yield metric, _of_events(requests.answers.broken)
    for predicted in measures.predictions:
        values = requests.answers.first(predicted.field)
        present = values[~np.isnan(values)]
        yield predicted.name, Tally.from_values(present.tolist())._replace(missing=len(values) - len(present))
        for metric, limit in predicted.levels:
            yield metric, Tally.from_events(len(present), int((present > limit).sum()), len(values) - len(present))


def _of_events(events: Floats) -> Tally:
    """The tally of zeros and ones; NaN means missing."""
    missing = int(np.isnan(events).sum())
    return Tally.from_events(len(events) - missing, int((events == 1).sum()), missing)


def by_side(batch: Batch) -> dict[Side, Requests]:
    """The requests of each side; requests outside of rollouts are left out."""
    places: dict[tuple[Any, ...], int] = {}
    of_kind = [_OUTSIDE if each.rollout is None else places.setdefault(_place(each), len(places))
               for each in batch.kinds]  # fmt: skip
    place = integers(of_kind)[batch.kind]
    inside = np.flatnonzero(place != _OUTSIDE)
    partial_sides = list(places)
    sides: dict[Side, Requests] = {}
    for (number, bucket), rows in groups(place[inside], batch.bucket[inside]):
        rollout, epoch, arm, weight = partial_sides[number]
        sides[rollout, epoch, bucket, arm, weight] = Requests(batch, inside[rows])
    return sides


_OUTSIDE = -1


def _place(kind: Exposure) -> tuple[Any, ...]:
    """The side of a request without its bucket."""
    return kind.rollout, kind.epoch, kind.arm, kind.weight


def is_judged(side: Side) -> bool:
    """Whether gates judge the requests of this side."""
    return side[4] > 0


def seen_rows(sides: dict[Side, Requests]) -> list[tuple[Any, ...]]:
    """Rows for the table `seen`."""
    return [(*side, len(each), each.abandoned, each.failed, each.fallbacks) for side, each in sides.items()]


def end_rows(batch: Batch, ends: Sequence[End]) -> list[tuple[Any, ...]]:
    """Rows for the table `ends`; `ends` belong to the batch's kinds."""
    counts: Counter[tuple[Any, ...]] = Counter()
    for (kind, bucket), n in counted(batch.kind, batch.bucket):
        if batch.kinds[kind].rollout is not None:
            counts[*batch.kinds[kind]._replace(bucket=bucket).side, ends[kind].value] += n
    return [(*key, n) for key, n in counts.items()]


def latency_rows(sides: dict[Side, Requests]) -> list[tuple[Any, ...]]:
    """Rows for the table `latencies`."""
    return [
        (*side, number, n) for side, requests in sides.items() for (number,), n in counted(bins_of(requests.durations))
    ]
