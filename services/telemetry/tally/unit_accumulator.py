"""Unit sheet: what units add over one transaction, where a unit keeps its arm and comes again. Pure.

How a unit's rows are put into strata is said at `sluicegate.registry.words.tally.UnitSums`. A request is a meeting
whether or not it has a value. Who turns up in both arms of one epoch was not assigned by chance there; the arm met
first stands, and rows of the other are left out.
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
"""Rollout, epoch, bucket, arm, weight. Of units, the bucket is that of their stratum."""
Sums = tuple[tuple[str, float, int], ...]
"""What a unit, or a single row of it, adds to each metric: its name, the sum of values and the number of rows."""
Step = tuple[Side, Sums, Sums]
"""What a unit has added before and after. Many units take the same step, so steps are counted."""
Place = tuple[str, str, int, int, str, int]
"""Rollout, metric, epoch, bucket of a stratum of units, arm, weight: a row of unit sums."""
_NO_ROWS = (0.0, 0)
_REMEMBERED = 4_096


def key_of(unit: str) -> int:
    """The number under which a unit is kept: 64 bits of hash, signed."""
    number = xxhash.xxh64_intdigest(unit.encode())
    return number - (1 << 64) if number >> 63 else number


def keys_of(units: Sequence[str]) -> Ints:
    """The same of many."""
    return np.fromiter(map(xxhash.xxh64_intdigest, map(str.encode, units)), np.uint64, len(units)).view(np.int64)


def row_of(values: Iterable[tuple[str, float | None]]) -> Sums:
    """A single row; a value that is missing adds nothing."""
    return tuple((metric, value, 1) for metric, value in values if value is not None)


@lru_cache(maxsize=_REMEMBERED)
def merged(had: Sums, more: Sums) -> Sums:
    """Both together."""
    sums = {metric: (x, n) for metric, x, n in had}
    for metric, x, n in more:
        had_x, had_n = sums.get(metric, _NO_ROWS)
        sums[metric] = (had_x + x, had_n + n)
    return tuple((metric, x, n) for metric, (x, n) in sums.items())


@dataclass(slots=True)
class Entry:
    """What one unit has added in one epoch."""

    arm: str
    weight: int
    bucket: int | None
    """The stratum it belongs to; in a sheet, that of its first row there. None: it belongs to none."""
    sums: Sums = ()


Epochs = dict[int, Entry]
"""What a unit has added, by epoch."""


class UnitAccumulator:
    """Units met and their values, to be added to what is known of them."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, int], Epochs] = defaultdict(dict)
        """By rollout and unit."""
        self.loose: Counter[Step] = Counter()
        """Rows without a unit: each is a unit of its own."""

    def __bool__(self) -> bool:
        return bool(self.entries or self.loose)

    def take(self, side: Side, unit: str, row: Sums) -> None:
        """Add a request, or late values of one; an empty unit is none. Without values it is only met."""
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


def enter(known: Epochs, new: Epochs, rollout: str, steps: Counter[Step]) -> Epochs:
    """One unit's epochs as they will be, where they change; the steps it takes to get there are counted in `steps`."""
    changed: Epochs = {}
    for epoch, entry in sorted(new.items()) if len(new) > 1 else new.items():
        had = known.get(epoch)
        if had is None:
            bucket = entry.bucket if not known and not changed else bucket_of(known | changed, epoch, entry)
            had = Entry(entry.arm, entry.weight, bucket)
        if had.arm != entry.arm:
            continue
        after = merged(had.sums, entry.sums) if had.sums else entry.sums
        if had.bucket is not None:
            steps[(rollout, epoch, had.bucket, had.arm, had.weight), had.sums, after] += 1
        changed[epoch] = Entry(had.arm, had.weight, had.bucket, after)
    return changed


def added(steps: Mapping[Step, int]) -> dict[Place, UnitSums]:
    """What so many steps of units add to the unit sums."""
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


def bucket_of(known: Mapping[int, Entry], epoch: int, entry: Entry) -> int | None:
    """The stratum of a unit that is met in an epoch for the first time."""
    before = {each: had.arm for each, had in known.items() if each < epoch}
    if not before:
        return entry.bucket
    last = known[max(before)]
    if last.weight == entry.weight:  # the same draw once more
        return last.bucket if last.arm == entry.arm else None
    return None if Arm.CANDIDATE in before.values() else -max(before)
