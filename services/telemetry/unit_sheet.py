"""Unit sheet: what units add over one transaction, where a unit keeps its arm and comes again. Pure.

How a unit's rows are put into strata is said at `registry.metric.UnitSums`. A request is a meeting whether or not it
has a value. Who turns up in both arms of one epoch was not assigned by chance there; the arm met first stands, and
rows of the other are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import add as plus
from operator import sub

import xxhash

from registry.metric import Arm

Side = tuple[str, int, int, str, int]
"""Rollout, epoch, bucket, arm, weight."""
Place = tuple[str, str, int, int, str, int]
"""Rollout, metric, epoch, bucket of a stratum of units, arm, weight: a row of unit sums."""
Powers = tuple[float, ...]
"""The fields of a UnitSums, in their order."""
NONE: Powers = (0.0,) * 10
_NO_ROWS = (0.0, 0)


def key_of(unit: str) -> int:
    """The number under which a unit is kept: 64 bits of hash, signed."""
    number = xxhash.xxh64_intdigest(unit.encode())
    return number - (1 << 64) if number >> 63 else number


def powers(x: float, n: float) -> Powers:
    """What one unit with n rows that sum to x adds: `UnitSums.of(x, n)`, without the cost of its class."""
    if not n:
        return NONE
    xx, xn, nn = x * x, x * n, n * n
    return (1.0, x, n, xx, xn, nn, xx * x, xx * n, xn * n, nn * n)


@dataclass(slots=True)
class Entry:
    """What one unit has added in one epoch."""

    arm: str
    weight: int
    bucket: int | None
    """The stratum it belongs to; in a sheet, that of its first row there. None: it belongs to none."""
    sums: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Sum of values and rows, by metric."""


Epochs = dict[int, Entry]
"""What a unit has added, by epoch."""


class UnitSheet:
    """Units met and their values, to be added to what is known of them."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, int], Epochs] = defaultdict(dict)
        """By rollout and unit."""
        self.loose: dict[Place, Powers] = {}
        """Rows without a unit: each is a unit of its own."""

    def __bool__(self) -> bool:
        return bool(self.entries or self.loose)

    def take(self, side: Side, unit: str, values: Iterable[tuple[str, float | None]]) -> None:
        """Add a request, or late values of one; an empty unit is none. None is missing, and only met."""
        rollout, epoch, bucket, arm, weight = side
        if not unit:
            for metric, value in values:
                if value is not None:
                    add(self.loose, (rollout, metric, epoch, bucket, arm, weight), powers(value, 1))
            return
        epochs = self.entries[rollout, key_of(unit)]
        entry = epochs.get(epoch)
        if entry is None:
            entry = epochs[epoch] = Entry(arm=arm, weight=weight, bucket=bucket)
        if entry.arm != arm:
            return
        entry.bucket = min(bucket, entry.bucket or bucket)
        for metric, value in values:
            if value is not None:
                x, n = entry.sums.get(metric, (0.0, 0))
                entry.sums[metric] = (x + value, n + 1)


def enter(known: Epochs, new: Epochs, rollout: str, sums: dict[Place, Powers]) -> Epochs:
    """One unit's epochs as they will be, where they change; what that adds to the unit sums is added to `sums`."""
    changed: Epochs = {}
    for epoch, entry in sorted(new.items()) if len(new) > 1 else new.items():
        had = known.get(epoch)
        if had is None:
            bucket = entry.bucket if not known and not changed else _bucket(known | changed, epoch, entry)
            had = Entry(arm=entry.arm, weight=entry.weight, bucket=bucket)
        if had.arm != entry.arm:
            continue
        after = dict(had.sums)
        for metric, (x, n) in entry.sums.items():
            old_x, old_n = had.sums.get(metric, _NO_ROWS)
            after[metric] = (old_x + x, old_n + n)
            if had.bucket is not None:
                place = (rollout, metric, epoch, had.bucket, had.arm, had.weight)
                add(sums, place, powers(old_x + x, old_n + n))
                if old_n:
                    sums[place] = tuple(map(sub, sums[place], powers(old_x, old_n)))
        changed[epoch] = Entry(arm=had.arm, weight=had.weight, bucket=had.bucket, sums=after)
    return changed


def add(sums: dict[Place, Powers], place: Place, more: Powers) -> None:
    """Add to one row of unit sums."""
    had = sums.get(place)
    sums[place] = more if had is None else tuple(map(plus, had, more))


def _bucket(known: Mapping[int, Entry], epoch: int, entry: Entry) -> int | None:
    """The stratum of a unit that is met in an epoch for the first time."""
    before = {each: had.arm for each, had in known.items() if each < epoch}
    if not before:
        return entry.bucket
    return None if Arm.CANDIDATE in before.values() else -max(before)
