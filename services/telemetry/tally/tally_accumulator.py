"""TallyAccumulator: sums gathered in memory over one transaction, then added to the tables as few rows. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

from sluicegate.registry.words.access_log import End
from sluicegate.registry.words.metric import REQUESTS
from sluicegate.registry.words.slices import Slice, sliced_name
from sluicegate.registry.words.tally import Tally
from sluicegate.services.telemetry.tally.accumulator import Accumulator
from sluicegate.services.telemetry.tally.ending_rows import EndingRows
from sluicegate.services.telemetry.tally.exposure import Exposure
from sluicegate.services.telemetry.tally.histogram import bin_of
from sluicegate.services.telemetry.tally.measurements import answer_values
from sluicegate.services.telemetry.tally.slicing import slice_at, stratum_bucket
from sluicegate.services.telemetry.tally.spec import Measures, Slicing
from sluicegate.services.telemetry.tally.unit_accumulator import Side, Sums, UnitAccumulator, row_of


class Requests:
    """The requests of one side."""

    def __init__(self, exposures: list[Exposure]) -> None:
        self.exposures = exposures
        self.abandoned = sum(exposure.failed is None for exposure in exposures)
        self.failed = sum(exposure.failed == 1 for exposure in exposures)
        self.fallbacks = sum(exposure.served not in (exposure.assigned, None) for exposure in exposures)
        self.durations = sorted(
            exposure.duration for exposure in exposures if exposure.duration is not None and exposure.failed is not None
        )
        """Microseconds that the clients waited who stayed; some requests have none."""

    @property
    def errors(self) -> int:
        """Requests that the assigned build failed, or let the client wait for until it left."""
        return self.failed + self.abandoned

    @cached_property
    def timeless(self) -> int:
        """Requests without a duration although the client stayed."""
        return sum(exposure.has_stayed for exposure in self.exposures) - len(self.durations)


class TallyAccumulator:
    """Tallies to be added, by side and metric."""

    def __init__(self) -> None:
        self._sums = Accumulator[tuple[Side, str]]()
        self.units = UnitAccumulator()
        """The same by unit, where units keep their arm."""

    def __bool__(self) -> bool:
        return bool(self._sums or self.units)

    def take(self, side: Side, metric: str, value: float | None) -> None:
        """Add one value of a metric; None is missing."""
        self._sums.take(_cell(side, metric), value)

    def take_late(self, side: Side, unit: str | None, metric: str, value: float | None) -> None:
        """Add a value that came after its request; `unit`: None where units do not count together, empty for none."""
        self.take(side, metric, value)
        if unit is not None:
            self.units.take(side, unit, row_of(((metric, value),)))

    def take_requests(self, side: Side, requests: Requests, measures: Measures) -> None:
        """Add what requests alone decide."""
        for metric, tally in _endings(requests, measures):
            self._sums.add((side, metric), tally)
        if measures.judges_answers or measures.by_unit:
            self._take_each(side, requests, measures)
        for slicing in measures.slicings:
            self._take_slices(side, requests, slicing, measures.only(slicing.metrics))

    def _take_each(self, side: Side, requests: Requests, measures: Measures) -> None:
        """Add what cannot be told from the counts of a side: answers, and everything by unit."""
        endings = EndingRows(measures)
        answered: defaultdict[str, list[float | None]] = defaultdict(list)
        for exposure in requests.exposures:
            answer = tuple(answer_values(exposure, measures))
            for metric, value in answer:
                answered[metric].append(value)
            if measures.by_unit:
                row = endings.row(exposure)
                row = row + row_of(answer) if answer else row
                sliced = _of_slices(row, exposure, measures.slicings) if measures.slicings else ()
                self.units.take(side, exposure.unit or "", row + sliced)
        for metric, values in answered.items():
            self._sums.take_all(_cell(side, metric), values)

    def _take_slices(self, side: Side, requests: Requests, slicing: Slicing, measures: Measures) -> None:
        """Add the same of each slice by one header."""
        slices: defaultdict[Slice, list[Exposure]] = defaultdict(list)
        for exposure in requests.exposures:
            slices[slice_at(exposure.slices, slicing.position, slicing.header)].append(exposure)
        for part, exposures in slices.items():
            for metric, tally in _endings(Requests(exposures), measures):
                self._sums.add(_cell(side, sliced_name(metric, part)), tally)
            if slicing.has_labels:
                self._sums.add(_cell(side, sliced_name(REQUESTS, part)), Tally(n=len(exposures)))
            for metric, value in (each for exposure in exposures for each in answer_values(exposure, measures)):
                self.take(side, sliced_name(metric, part), value)

    def rows(self) -> list[tuple[Any, ...]]:
        """Rows for the table of tallies."""
        tallies = self._sums.tallies()
        return [(rollout, metric, *stratum, *tally) for ((rollout, *stratum), metric), tally in tallies.items()]


def _cell(side: Side, metric: str) -> tuple[Side, str]:
    """Where a metric is counted."""
    rollout, epoch, bucket, arm, weight = side
    return (rollout, epoch, stratum_bucket(metric, bucket), arm, weight), metric


def _of_slices(row: Sums, exposure: Exposure, slicings: Iterable[Slicing]) -> Sums:
    """What a unit's row adds to the slices that the request is in."""
    return tuple(
        (sliced_name(metric, slice_at(exposure.slices, each.position, each.header)), x, n)
        for each in slicings
        for metric, x, n in row
        if metric in each.metrics
    )


def _endings(requests: Requests, measures: Measures) -> Iterator[tuple[str, Tally]]:
    """What the status and the durations of requests add to each metric."""
    for metric in measures.statuses:
        yield metric, Tally.from_events(len(requests.exposures), requests.errors)
    n = len(requests.durations)
    for metric, limit in measures.limits:
        above = n - bisect_right(requests.durations, limit)
        yield metric, Tally.from_events(n, above, requests.timeless)
    for metric, cap in measures.means:
        seconds = Tally.from_values(min(duration / 1e6, cap) for duration in requests.durations)
        yield metric, seconds._replace(missing=requests.timeless)


def by_side(exposures: Iterable[Exposure]) -> dict[Side, Requests]:
    """The requests of each side of a rollout; exposures outside of any rollout are left out."""
    sides: defaultdict[Side, list[Exposure]] = defaultdict(list)
    for exposure in exposures:
        if exposure.rollout is not None:
            sides[exposure.side].append(exposure)
    return {side: Requests(exposures) for side, exposures in sides.items()}


def is_judged(side: Side) -> bool:
    """Whether the gates judge what is at this side."""
    return side[4] > 0


def seen_rows(sides: dict[Side, Requests]) -> list[tuple[Any, ...]]:
    """Rows for the table of what was seen."""
    return [
        (*side, len(each.exposures), each.abandoned, each.failed, each.fallbacks) for side, each in sides.items()
    ]  # fmt: skip


def end_rows(ended: Iterable[tuple[Exposure, End]]) -> list[tuple[Any, ...]]:
    """Rows for the table of ends."""
    counts = Counter((*exposure.side, end.value) for exposure, end in ended if exposure.rollout is not None)
    return [(*key, n) for key, n in counts.items()]


def latency_rows(sides: dict[Side, Requests]) -> list[tuple[Any, ...]]:
    """Rows for the table of latencies."""
    return [
        (*side, number, n)
        for side, requests in sides.items()
        for number, n in Counter(map(bin_of, requests.durations)).items()
    ]
