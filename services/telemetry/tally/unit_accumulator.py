"""Unit accumulator: the sums of units during one transaction, if a unit keeps its arm and may return. Pure.

`sluicegate.registry.words.tally.UnitSums` explains how a unit's rows are divided into strata. A request counts as a
meeting with its unit even without a value. A unit that appears in both arms of one epoch was not assigned at random
there; its first arm counts, and rows of the other arm are left out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import xxhash

from sluicegate.registry.words.metric import Arm
from sluicegate.registry.words.tally import UnitSums
from sluicegate.services.telemetry.tally.batch import Ints
from sluicegate.services.telemetry.tally.slicing import stratum_bucket

Side = tuple[str, int, int, str, int]
"""Rollout, epoch, bucket, arm, weight. For units, the bucket is that of their stratum."""
Sums = tuple[tuple[str, float, int], ...]
"""The sums of a unit, or of one of its rows, by metric: the name, the sum of values and the number of rows."""
Step = tuple[Side, Sums, Sums]
"""The sums of a unit before and after a change. Many units make the same step, so steps are counted."""
Place = tuple[str, str, int, int, str, int]
"""The key of a row of unit sums: rollout, metric, epoch, bucket of a stratum of units, arm, weight."""
_NO_ROWS = (0.0, 0)
_REMEMBERED = 4_096


def key_of(unit: str) -> int:
    """The number of a unit: its hash as a signed 64-bit integer."""
    number = xxhash.xxh64_intdigest(unit.encode())
    return number - (1 << 64) if number >> 63 else number


def keys_of(units: Sequence[str]) -> Ints:
    """The numbers of many units."""
    return np.fromiter(map(xxhash.xxh64_intdigest, map(str.encode, units)), np.uint64, len(units)).view(np.int64)


def row_of(values: Iterable[tuple[str, float | None]]) -> Sums:
    """The sums of a single row; missing values add nothing."""
    return tuple((metric, value, 1) for metric, value in values if value is not None)


@lru_cache(maxsize=_REMEMBERED)
def merged(had: Sums, more: Sums) -> Sums:
    """The sums of both."""
    sums = {metric: (x, n) for metric, x, n in had}
    for metric, x, n in more:
        had_x, had_n = sums.get(metric, _NO_ROWS)
        sums[metric] = (had_x + x, had_n + n)
    return tuple((metric, x, n) for metric, (x, n) in sums.items())


@dataclass(slots=True)
class Entry:
    """The sums of one unit in one epoch."""

    arm: str
    weight: int
    bucket: int | None
    """The stratum that it belongs to; before that is settled, the bucket of its first row. None: it belongs to none."""
    sums: Sums = ()


Epochs = dict[int, Entry]
"""A unit's entries by epoch."""


class UnitAccumulator:
    """New values of units, to be added to their stored sums."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, int], Epochs] = defaultdict(dict)
        """By rollout and unit."""
        self.loose: Counter[Step] = Counter()
        """Rows without a unit, each of which counts as a unit of its own."""

    def __bool__(self) -> bool:
        return bool(self.entries or self.loose)

    def take(self, side: Side, unit: str, row: Sums) -> None:
        """Add a request, or late values of one. An empty `unit` means none; without values, the unit only counts as
        met."""
        if not unit:
            self.loose[side, (), row] += 1
            return
        rollout, epoch, bucket, arm, weight = side
        epochs = self.entries[rollout, key_of(unit)]
        entry = epochs.get(epoch)
        if entry is None:
            epochs[epoch] = Entry(arm, weight, bucket, row)
        elif entry.arm == arm:
            entry.bucket = bucket if entry.bucket is None else min(bucket, entry.bucket)
            entry.sums = merged(entry.sums, row)


def enter(stored: Epochs, new: Epochs, rollout: str, steps: Counter[Step]) -> Epochs:
    """One unit's changed entries by epoch; the steps from the stored to the changed ones are added to `steps`."""
    changed: Epochs = {}
    for epoch, entry in sorted(new.items()) if len(new) > 1 else new.items():
        had = stored.get(epoch)
        if had is None:
            bucket = entry.bucket if not stored and not changed else bucket_of(stored | changed, epoch, entry)
            had = Entry(entry.arm, entry.weight, bucket)
        if had.arm != entry.arm:
            continue
        after = merged(had.sums, entry.sums) if had.sums else entry.sums
        if had.bucket is not None:
            steps[(rollout, epoch, had.bucket, had.arm, had.weight), had.sums, after] += 1
        changed[epoch] = Entry(had.arm, had.weight, had.bucket, after)
    return changed


def added(steps: Mapping[Step, int]) -> dict[Place, UnitSums]:
    """The changes of the unit sums that result from counted steps."""
    changes: Counter[tuple[Place, tuple[float, int], tuple[float, int]]] = Counter()
    for ((rollout, epoch, bucket, arm, weight), before, after), units in steps.items():
        had = {metric: (x, n) for metric, x, n in before}
        for metric, x, n in after:
            old = had.get(metric, _NO_ROWS)
            if old != (x, n):
                place = (rollout, metric, epoch, stratum_bucket(metric, bucket), arm, weight)
                changes[place, old, (x, n)] += units
    sums: defaultdict[Place, UnitSums] = defaultdict(UnitSums)
    for (place, old, new), units in changes.items():
        sums[place] += (UnitSums.from_unit(*new) - UnitSums.from_unit(*old)).times(units)
    return sums


def bucket_of(earlier: Mapping[int, Entry], epoch: int, entry: Entry) -> int | None:
    """The stratum of a unit that is met for the first time in an epoch."""
    before = {each: had.arm for each, had in earlier.items() if each < epoch}
    if not before:
        return entry.bucket
    last = earlier[max(before)]
    if last.weight == entry.weight:  # the same assignment again
        return last.bucket if last.arm == entry.arm else None
    return None if Arm.CANDIDATE in before.values() else -max(before)
