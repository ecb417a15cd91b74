"""UnitSheet: the requests of many units at once, and the changes that they make to the sums of units. Pure.

The results equal those of `unit_accumulator`, which handles late labels one by one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from sluicegate.services.telemetry.tally.batch import Flags, Floats, Ints, distinct, integers
from sluicegate.services.telemetry.tally.slicing import stratum_bucket
from sluicegate.services.telemetry.tally.unit_accumulator import Entry, Epochs, Side, bucket_of
from sluicegate.services.telemetry.tally.unit_codec import Entries

_SUMS = 10


class Values(NamedTuple):
    """Values of a metric."""

    metric: str
    row: Ints
    """The rows of their requests."""
    value: Floats


@dataclass
class UnitSheet:
    """Requests of one rollout by unit, in the order in which they were added."""

    sides: list[Side] = field(default_factory=list)
    metrics: dict[str, int] = field(default_factory=dict)
    """The index of each metric."""
    _keys: list[Ints] = field(default_factory=list)
    _side: list[Ints] = field(default_factory=list)
    _rows: int = 0
    _values: list[tuple[Ints, Ints, Floats]] = field(default_factory=list)
    """Row, metric and value."""
    _has_unit: list[Flags] = field(default_factory=list)

    def take(self, side: Side, keys: Ints, has_unit: Flags, values: Iterable[Values]) -> None:
        """Add requests. Each one without a unit counts as a unit of its own."""
        self._side.append(np.full(len(keys), len(self.sides)))
        self.sides.append(side)
        self._keys.append(keys)
        self._has_unit.append(has_unit)
        for metric, row, value in values:
            place = self.metrics.setdefault(metric, len(self.metrics))
            present = ~np.isnan(value)
            rows = row[present] + self._rows
            self._values.append((rows, np.full(len(rows), place), value[present]))
        self._rows += len(keys)

    def columns(self) -> tuple[Ints, Ints, Flags]:
        """For each request the key of its unit, the index of its side, and whether it has a unit."""
        return np.concatenate(self._keys), np.concatenate(self._side), np.concatenate(self._has_unit)

    def values(self) -> tuple[Ints, Ints, Floats]:
        """The row, metric and value of every measurement."""
        if not self._values:
            return integers(()), integers(()), np.empty(0)
        rows, metrics, values = zip(*self._values, strict=True)
        return np.concatenate(rows), np.concatenate(metrics), np.concatenate(values)


class Known(NamedTuple):
    """A unit's stored entry in one epoch."""

    key: int
    epoch: int
    entry: Entry
    """Without its sums."""


@dataclass(frozen=True, kw_only=True)
class Changed:
    """The changes that a sheet makes."""

    rows: list[tuple[Any, ...]]
    """Unit, epoch, arm, weight and bucket of each changed entry."""
    entries: Entries
    """The new sums of these entries."""
    sums: list[tuple[Any, ...]]
    """Metric, epoch, bucket, arm, weight, and the change of the unit sums."""


def changed(sheet: UnitSheet, known: Sequence[Known], had: Entries) -> Changed:
    """The changes that a sheet's requests make; `had` are the stored sums of the units, by their indexes in `known`."""
    keys, side, has_unit = sheet.columns()
    names = list(sheet.metrics)
    rows, metrics, values = sheet.values()
    steps = _Steps(names)
    alone = ~has_unit[rows]
    steps.take(
        sheet.sides, side[rows[alone]], metrics[alone], np.zeros(int(alone.sum())),
        np.zeros(int(alone.sum()), np.int64), values[alone], np.ones(int(alone.sum()), np.int64),
    )  # fmt: skip
    slots = _Slots(sheet.sides, keys, side, has_unit)
    places = slots.settle(known)
    of_row = slots.of_row
    counts = of_row[rows] >= 0
    slot_of_known = integers([places.get((each.key, each.epoch), -1) for each in known])
    has_slot = slot_of_known[had.unit] >= 0 if len(had.unit) else np.zeros(0, np.bool_)
    width = max(len(names), 1)
    before_code = slot_of_known[had.unit[has_slot]] * width + had.metric[has_slot]
    new_code = of_row[rows[counts]] * width + metrics[counts]
    codes, inverse = distinct(np.concatenate((before_code, new_code)))
    split = len(before_code)
    x, n = np.zeros(len(codes)), np.zeros(len(codes), np.int64)
    x[inverse[:split]], n[inverse[:split]] = had.x[has_slot], had.n[has_slot]
    more_x = np.bincount(inverse[split:], values[counts], len(codes))
    more_n = np.bincount(inverse[split:], minlength=len(codes))
    slot, metric = codes // width, codes % width
    moved = (more_n > 0) & slots.has_stratum[slot]
    steps.take(
        *slots.strata(slot[moved]), metric[moved], x[moved], n[moved],
        (x + more_x)[moved], (n + more_n)[moved],
    )  # fmt: skip
    kept = np.flatnonzero(slots.is_kept)
    place_of = np.cumsum(slots.is_kept) - 1
    is_kept = slots.is_kept[slot]
    return Changed(
        rows=[slots.row(each) for each in kept.tolist()],
        entries=Entries(place_of[slot[is_kept]], metric[is_kept], (x + more_x)[is_kept], (n + more_n)[is_kept]),
        sums=steps.rows(),
    )


class _Slots:
    """Units by epoch, each with the arm in which it was first met, and its stratum."""

    def __init__(self, sides: Sequence[Side], keys: Ints, side: Ints, has_unit: Flags) -> None:
        epochs = integers([each[1] for each in sides])[side]
        rows = np.flatnonzero(has_unit)
        rows = rows[np.lexsort((epochs[rows], keys[rows]))]
        begins = np.ones(len(rows), np.bool_)
        begins[1:] = (np.diff(keys[rows]) != 0) | (np.diff(epochs[rows]) != 0)
        slot = np.cumsum(begins) - 1
        first = rows[begins]
        arms = np.array([each[3] for each in sides])
        is_same = arms[side[rows]] == arms[side[first]][slot]
        buckets = integers([each[2] for each in sides])[side]
        earliest = np.full(len(first), np.iinfo(np.int64).max)
        np.minimum.at(earliest, slot[is_same], buckets[rows[is_same]])
        self.of_row = np.full(len(keys), -1)
        self.of_row[rows[is_same]] = slot[is_same]
        self.keys: list[int] = keys[first].tolist()
        self.sides = [
            (*sides[place][:2], bucket, *sides[place][3:])
            for place, bucket in zip(side[first].tolist(), earliest.tolist(), strict=True)
        ]
        self.buckets: list[int | None] = [each[2] for each in self.sides]
        self.is_kept = np.ones(len(first), np.bool_)
        self.has_stratum = np.ones(len(first), np.bool_)

    def settle(self, known: Sequence[Known]) -> dict[tuple[int, int], int]:
        """Assign each slot its stratum, given the stored entries; returns the indexes of the slots that are kept."""
        places = {(key, side[1]): slot for slot, (key, side) in enumerate(zip(self.keys, self.sides, strict=True))}
        of_unit: defaultdict[int, Epochs] = defaultdict(dict)
        for each in known:
            of_unit[each.key][each.epoch] = each.entry
        several = {key for key, after in zip(self.keys, self.keys[1:], strict=False) if key == after}
        for key in several:
            of_unit.setdefault(key, {})
        for (key, epoch), slot in places.items():
            epochs = of_unit.get(key)
            if epochs is None:
                continue
            had = epochs.get(epoch)
            rollout, _, bucket, arm, weight = self.sides[slot]
            if had is None:
                had = Entry(arm, weight, bucket_of(epochs, epoch, Entry(arm, weight, bucket)))
                epochs[epoch] = had
            if had.arm != arm:
                self.is_kept[slot] = False
                continue
            self.buckets[slot] = had.bucket
            self.has_stratum[slot] = had.bucket is not None
            self.sides[slot] = (rollout, epoch, had.bucket or 0, arm, had.weight)
        dropped = np.flatnonzero(~self.is_kept)
        self.of_row[np.isin(self.of_row, dropped)] = -1
        return {place: slot for place, slot in places.items() if self.is_kept[slot]}

    def strata(self, slots: Ints) -> tuple[list[Side], Ints]:
        """All strata, and the index of the stratum of each of some slots."""
        places: dict[Side, int] = {}
        of_all = integers([places.setdefault(side, len(places)) for side in self.sides])
        return list(places), of_all[slots]

    def row(self, slot: int) -> tuple[Any, ...]:
        _, epoch, _, arm, weight = self.sides[slot]
        return self.keys[slot], epoch, arm, weight, self.buckets[slot]


class _Steps:
    """The changes of the unit sums that result from units' old and new sums."""

    def __init__(self, metrics: Sequence[str]) -> None:
        self._metrics = metrics
        self._sums: dict[tuple[Any, ...], Any] = {}

    def take(
        self, strata: Sequence[Side], place: Ints, metric: Ints, x: Floats, n: Ints, new_x: Floats, new_n: Ints
    ) -> None:
        """Add steps, each for one unit and metric."""
        if not len(place):
            return
        codes, inverse = distinct(place * len(self._metrics) + metric)
        added = [
            np.bincount(inverse, after - before, len(codes))
            for before, after in zip(_sums(x, n), _sums(new_x, new_n), strict=True)
        ]
        for code, *sums in zip(codes.tolist(), *(each.tolist() for each in added), strict=True):
            _, epoch, bucket, arm, weight = strata[code // len(self._metrics)]
            name = self._metrics[code % len(self._metrics)]
            key = (name, epoch, stratum_bucket(name, bucket), arm, weight)
            self._sums[key] = [a + b for a, b in zip(self._sums.get(key, [0.0] * _SUMS), sums, strict=True)]

    def rows(self) -> list[tuple[Any, ...]]:
        return [(*key, round(size), *sums) for key, (size, *sums) in self._sums.items()]


def _sums(x: Floats, n: Ints) -> list[Floats]:
    """The fields of `UnitSums.from_unit` for each unit; all are 0 for a unit without rows."""
    rows = n.astype(np.float64)
    xx, xn, nn = x * x, x * rows, rows * rows
    return [(n > 0).astype(np.float64), x, rows, xx, xn, nn, xx * x, xx * rows, xn * rows, nn * rows]
