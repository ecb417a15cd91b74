"""Sheet: sums gathered in memory over one transaction, then added to the tables as few rows. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from registry.rollout import FULL
from services.telemetry.exposure import Exposure
from services.telemetry.spec import Measures

Side = tuple[str, int, int, str, int]
"""Rollout, epoch, bucket, arm, weight."""


@dataclass(slots=True)
class Requests:
    """The requests of one side."""

    requests: int = 0
    abandoned: int = 0
    failed: int = 0
    fallbacks: int = 0
    timeless: int = 0
    """Not abandoned, and yet without a duration."""
    durations: list[int] = field(default_factory=list)
    """Microseconds."""

    def take(self, exposure: Exposure) -> None:
        self.requests += 1
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
    def ended(self) -> int:
        """Requests whose end was seen."""
        return self.requests - self.abandoned


@dataclass(slots=True)
class Cell:
    """A tally under way."""

    n: int = 0
    missing: int = 0
    total: float = 0.0
    squares: float = 0.0
    cubes: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def take(self, value: float | None) -> None:
        """Add one value; None is missing."""
        if value is None:
            self.missing += 1
            return
        self.n += 1
        self.total += value
        self.squares += value * value
        self.cubes += value * value * value
        self.low = min(self.low, value)
        self.high = max(self.high, value)


class Sheet:
    """Tallies to be added, by side and metric."""

    def __init__(self) -> None:
        self._cells: dict[tuple[Side, str], Cell] = {}

    def __bool__(self) -> bool:
        return bool(self._cells)

    def take(self, side: Side, metric: str, value: float | None) -> None:
        """Add one value of a metric; None is missing."""
        self._cell(side, metric).take(value)

    def take_requests(self, side: Side, requests: Requests, measures: Measures) -> None:
        """Add what requests alone decide."""
        for metric in measures.statuses:
            self._take_binary(side, metric, requests.ended, requests.failed)
        if measures.limits:
            durations = sorted(requests.durations)
        for metric, limit in measures.limits:
            above = len(durations) - bisect_right(durations, limit)
            self._take_binary(side, metric, len(durations), above, missing=requests.timeless)
        for metric in measures.means:
            cell = self._cell(side, metric)
            cell.missing += requests.timeless
            for duration in requests.durations:
                cell.take(duration / 1e6)

    def rows(self) -> list[dict[str, Any]]:
        """Rows for the table of tallies, in order of their keys."""
        return [
            {
                "rollout": rollout, "metric": metric, "epoch": epoch, "bucket": bucket, "arm": arm, "weight": weight,
                "n": cell.n, "missing": cell.missing, "total": cell.total, "squares": cell.squares,
                "cubes": cell.cubes, "low": cell.low, "high": cell.high,
            }
            for ((rollout, epoch, bucket, arm, weight), metric), cell in sorted(self._cells.items())
        ]  # fmt: skip

    def _take_binary(self, side: Side, metric: str, n: int, ones: int, *, missing: int = 0) -> None:
        """Add n values, `ones` of them 1 and the others 0."""
        cell = self._cell(side, metric)
        cell.missing += missing
        if n == 0:
            return
        cell.n += n
        cell.total += ones
        cell.squares += ones
        cell.cubes += ones
        cell.low = min(cell.low, 1.0 if ones == n else 0.0)
        cell.high = max(cell.high, 1.0 if ones else 0.0)

    def _cell(self, side: Side, metric: str) -> Cell:
        key = (side, metric)
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = Cell()
        return cell


def by_side(exposures: Iterable[Exposure]) -> dict[Side, Requests]:
    """The requests of each side of a rollout; exposures outside of any rollout are left out."""
    sides: dict[Side, Requests] = {}
    for exposure in exposures:
        if exposure.rollout is None:
            continue
        side = (exposure.rollout, exposure.epoch, exposure.bucket, exposure.arm, exposure.weight)
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
