"""Batch: requests as columns, so that sums over many of them are computed at once. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sluicegate.services.telemetry.tally.exposure import Exposure

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
NO_DURATION = -1
_HEAD = '"r":'
"""The end of the part of a prediction summary that all answers of a build share, which names the columns."""
_LONGEST_HEAD = 1_000


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some requests, in the order of the log. Row n of every column belongs to the same request."""

    kinds: tuple[Exposure, ...]
    """The common parts of requests; their individual fields are empty."""
    kind: Ints
    """The index of each request's kind."""
    at: Ints
    bucket: Ints
    duration: Ints
    """Microseconds; NO_DURATION if there is none."""
    rids: Sequence[str | None]
    units: Sequence[str | None]
    predictions: Sequence[str | None]
    slices: Sequence[str | None] | None
    """None if no request has any."""

    def __len__(self) -> int:
        return len(self.kind)

    @classmethod
    def of(cls, exposures: Sequence[Exposure]) -> Batch:
        """A batch of these exposures."""
        places: dict[Exposure, int] = {}
        kind = [places.setdefault(kind_of(each), len(places)) for each in exposures]
        slices = [each.slices for each in exposures]
        durations = (NO_DURATION if each.duration is None else each.duration for each in exposures)
        return cls(
            kinds=tuple(places), kind=integers(kind), at=integers([each.at for each in exposures]),
            bucket=integers([each.bucket for each in exposures]), duration=integers(list(durations)),
            rids=[each.rid for each in exposures], units=[each.unit for each in exposures],
            predictions=[each.prediction for each in exposures], slices=slices if any(slices) else None,
        )  # fmt: skip

    def exposure(self, row: int) -> Exposure:
        """The request in a row, as an exposure."""
        duration = int(self.duration[row])
        kind = self.kinds[int(self.kind[row])]
        return kind._replace(
            rid=self.rids[row], at=int(self.at[row]), bucket=int(self.bucket[row]), unit=self.units[row],
            duration=None if duration == NO_DURATION else duration, prediction=self.predictions[row],
            slices=None if self.slices is None else self.slices[row],
        )  # fmt: skip

    def select(self, rows: Ints) -> Batch:
        """A batch of some of the requests, by their rows."""
        chosen = rows.tolist()

        def of(column: Sequence[str | None]) -> list[str | None]:
            return [column[row] for row in chosen]

        return replace(
            self, kind=self.kind[rows], at=self.at[rows], bucket=self.bucket[rows], duration=self.duration[rows],
            rids=of(self.rids), units=of(self.units), predictions=of(self.predictions),
            slices=None if self.slices is None else of(self.slices),
        )  # fmt: skip

    def flags(self, of_kind: Callable[[Exposure], bool]) -> Flags:
        """For each request, whether `of_kind` is true for its kind."""
        return np.fromiter(map(of_kind, self.kinds), np.bool_, len(self.kinds))[self.kind]


def kind_of(exposure: Exposure) -> Exposure:
    """The part of a request that it has in common with others."""
    return exposure._replace(rid=None, at=0, bucket=0, unit=None, duration=None, prediction=None, slices=None)


def integers(values: Sequence[int]) -> Ints:
    """A column of integers."""
    return np.array(values, np.int64)


def groups(*columns: Ints) -> list[tuple[tuple[int, ...], Ints]]:
    """The distinct combinations of values, in order of their first row, each with its rows."""
    if not len(columns[0]):
        return []
    order, starts = _runs(columns)
    parts = np.split(order, starts[1:])
    return [(tuple(int(column[rows[0]]) for column in columns), rows) for rows in sorted(parts, key=lambda x: x[0])]


def counted(*columns: Ints) -> list[tuple[tuple[int, ...], int]]:
    """The distinct combinations of values, each with its number of rows."""
    if not len(columns[0]):
        return []
    order, starts = _runs(columns)
    sizes = np.diff(starts, append=len(order)).tolist()
    values = zip(*(column[order[starts]].tolist() for column in columns), strict=True)
    return list(zip(values, sizes, strict=True))


def distinct(numbers: Ints) -> tuple[Ints, Ints]:
    """The distinct numbers, sorted, and the index of each number among them. Numbers must not be negative."""
    end = int(numbers.max(initial=-1)) + 1
    if end > _DENSE * len(numbers):
        return np.unique(numbers, return_inverse=True)
    is_there = np.zeros(end, np.bool_)
    is_there[numbers] = True
    return np.flatnonzero(is_there), (np.cumsum(is_there) - 1)[numbers]


_DENSE = 4
"""If the range of the numbers is at most this many times their count, `distinct` marks them instead of sorting."""


def _runs(columns: Sequence[Ints]) -> tuple[Ints, Ints]:
    """The rows sorted by the columns, stably, and the positions where a new combination begins."""
    order = np.lexsort(columns[::-1]) if len(columns) > 1 else np.argsort(columns[0], kind="stable")
    changes: Any = np.zeros(len(order), np.bool_)
    changes[0] = True
    for column in columns:
        sorted_ = column[order]
        changes[1:] |= sorted_[1:] != sorted_[:-1]
    return order, np.flatnonzero(changes)


def split_heads(predictions: Sequence[str | None]) -> tuple[list[str], Ints, list[str | None]]:
    """The distinct beginnings of prediction summaries; the index of each summary's beginning, and the rest of each."""
    places, which, rests = dict[str, int](), list[int](), list[str | None]()
    head, place = "", -1
    for prediction in predictions:
        if prediction is None or not head or not prediction.startswith(head):
            own, rest = _split(prediction)
            of_own = places.setdefault(own, len(places))
            which.append(of_own)
            rests.append(rest)
            if own:
                head, place = own, of_own
        else:
            which.append(place)
            rests.append(prediction[len(head) :])
    return list(places), integers(which), rests


def _split(prediction: str | None) -> tuple[str, str | None]:
    if prediction is None:
        return "", None
    at = prediction.find(_HEAD, 0, _LONGEST_HEAD)
    return ("", prediction) if at < 0 else (prediction[: at + len(_HEAD)], prediction[at + len(_HEAD) :])
