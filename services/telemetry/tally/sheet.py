"""Sheet: sums gathered in memory over one transaction, then added to the tables as few rows. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sluicegate.registry.rollout.rollout import FULL
from sluicegate.registry.words.tally import Tally
from sluicegate.services.telemetry.tally.accumulator import Accumulator
from sluicegate.services.telemetry.tally.answers import of_answer
from sluicegate.services.telemetry.tally.bins import bin_of
from sluicegate.services.telemetry.tally.endings import Endings
from sluicegate.services.telemetry.tally.exposure import Exposure
from sluicegate.services.telemetry.tally.spec import Measures
from sluicegate.services.telemetry.tally.unit_sheet import Side, UnitSheet, row_of


@dataclass(slots=True)
class Requests:
    """The requests of one side."""

    requests: int = 0
    abandoned: int = 0
    failed: int = 0
    fallbacks: int = 0
    timeless: int = 0
    """Without a duration although the client stayed."""
    durations: list[int] = field(default_factory=list)
    """Microseconds."""
    exposures: list[Exposure] = field(default_factory=list)

    def take(self, exposure: Exposure) -> None:
        self.requests += 1
        self.exposures.append(exposure)
        if exposure.served != exposure.assigned and exposure.served is not None:
            self.fallbacks += 1
        if exposure.failed is None:
            self.abandoned += 1
            return
        self.failed += exposure.failed
        if exposure.duration is None or exposure.duration < 0:
            self.timeless += 1
        else:
            self.durations.append(exposure.duration)

    @property
    def errors(self) -> int:
        """Requests that the assigned build failed, or let the client wait for until it left."""
        return self.failed + self.abandoned


class Sheet:
    """Tallies to be added, by side and metric."""

    def __init__(self) -> None:
        self._sums = Accumulator[tuple[Side, str]]()
        self.units = UnitSheet()
        """The same by unit, where units keep their arm."""

    def __bool__(self) -> bool:
        return bool(self._sums or self.units)

    def take(self, side: Side, metric: str, value: float | None) -> None:
        """Add one value of a metric; None is missing."""
        self._sums.take((side, metric), value)

    def take_late(self, side: Side, unit: str | None, metric: str, value: float | None) -> None:
        """Add a value that came after its request; `unit`: None where units do not count together, empty for none."""
        self.take(side, metric, value)
        if unit is not None:
            self.units.take(side, unit, row_of(((metric, value),)))

    def take_requests(self, side: Side, requests: Requests, measures: Measures) -> None:
        """Add what requests alone decide."""
        for metric in measures.statuses:
            self._sums.add((side, metric), Tally.from_events(requests.requests, requests.errors))
        self._take_durations(side, requests, measures)
        if measures.judges_answers or measures.by_unit:
            self._take_each(side, requests, measures)

    def _take_each(self, side: Side, requests: Requests, measures: Measures) -> None:
        """Add what cannot be told from the counts of a side: answers, and everything by unit."""
        endings = Endings(measures)
        for exposure in requests.exposures:
            answer = tuple(of_answer(exposure, measures))
            for metric, value in answer:
                self.take(side, metric, value)
            if measures.by_unit:
                row = endings.row(exposure)
                self.units.take(side, exposure.unit or "", row + row_of(answer) if answer else row)

    def _take_durations(self, side: Side, requests: Requests, measures: Measures) -> None:
        durations, n = sorted(requests.durations), len(requests.durations)
        for metric, limit in measures.limits:
            above = n - bisect_right(durations, limit)
            self._sums.add((side, metric), Tally.from_events(n, above, requests.timeless))
        for metric, cap in measures.means:
            seconds = Tally.from_values(min(duration / 1e6, cap) for duration in requests.durations)
            self._sums.add((side, metric), seconds._replace(missing=requests.timeless))

    def rows(self) -> list[dict[str, Any]]:
        """Rows for the table of tallies, in order of their keys."""
        return [
            {"rollout": rollout, "metric": metric, "epoch": epoch, "bucket": bucket, "arm": arm, "weight": weight}
            | tally._asdict()
            for ((rollout, epoch, bucket, arm, weight), metric), tally in sorted(self._sums.tallies().items())
        ]  # fmt: skip


def by_side(exposures: Iterable[Exposure]) -> dict[Side, Requests]:
    """The requests of each side of a rollout; exposures outside of any rollout are left out."""
    sides: dict[Side, Requests] = {}
    for exposure in exposures:
        if exposure.rollout is None:
            continue
        side = exposure.side
        requests = sides.get(side)
        if requests is None:
            requests = sides[side] = Requests()
        requests.take(exposure)
    return sides


def is_compared(side: Side) -> bool:
    """Whether chance decided between the two arms at this side."""
    return 0 < side[4] < FULL


def seen_rows(sides: dict[Side, Requests]) -> list[dict[str, Any]]:
    """Rows for the table of what was seen, in order of their keys."""
    return [
        {
            "rollout": rollout, "epoch": epoch, "bucket": bucket, "arm": arm, "weight": weight,
            "requests": side.requests, "abandoned": side.abandoned, "failed": side.failed,
            "fallbacks": side.fallbacks,
        }
        for (rollout, epoch, bucket, arm, weight), side in sorted(sides.items())
    ]  # fmt: skip


def latency_rows(sides: dict[Side, Requests]) -> list[dict[str, Any]]:
    """Rows for the table of latencies, in order of their keys."""
    return [
        {
            "rollout": rollout, "epoch": epoch, "bucket": bucket, "arm": arm, "weight": weight, "bin": number,
            "requests": n,
        }
        for (rollout, epoch, bucket, arm, weight), side in sorted(sides.items())
        for number, n in sorted(Counter(map(bin_of, side.durations)).items())
    ]  # fmt: skip
