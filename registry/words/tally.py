"""Tallies: the additive sums that carry a metric from the collector through the looks to the statistics. Pure.

The only module of ours that the statistics may import; it uses the standard library alone. Both sums are tuples
because the collector makes thousands a second. In JSON and in tables they are the list of their fields.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from operator import add, mul, sub
from typing import NamedTuple


class Tally(NamedTuple):
    """Sums over the values y of one metric. Tallies can be added; the empty one is zero."""

    n: int = 0
    missing: int = 0
    """Rows without a usable value: NaN, infinite, unparsable, summary truncated. They are not part of n."""
    total: float = 0.0
    """Sum of y."""
    squares: float = 0.0
    """Sum of y squared."""
    cubes: float = 0.0
    """Sum of y cubed."""

    @classmethod
    def from_values(cls, values: Iterable[float | None]) -> Tally:
        """The tally of these values. None and values that are not finite are missing."""
        rows = list(values)
        known = [value for value in rows if value is not None and math.isfinite(value)]
        squares = [value * value for value in known]
        cubes = map(mul, squares, known)
        return cls(len(known), len(rows) - len(known), sum(known), sum(squares), sum(cubes))

    @classmethod
    def from_events(cls, n: int, events: float, missing: int = 0) -> Tally:
        """The tally of n zeros and ones, `events` of them ones."""
        return cls(n, missing, events, events, events)

    def __add__(self, other: Tally) -> Tally:  # type: ignore[override]
        return Tally(*map(add, self, other))

    def __sub__(self, other: Tally) -> Tally:
        return Tally(*map(sub, self, other))

    def scaled(self, factor: float) -> Tally:
        """The tally of the values times `factor`."""
        return self._replace(
            total=self.total * factor, squares=self.squares * factor**2, cubes=self.cubes * factor**3
        )  # fmt: skip

    def moved(self, by: float) -> Tally:
        """The tally of the values plus `by`."""
        n, total, squares = self.n, self.total, self.squares
        return self._replace(
            total=total + n * by, squares=squares + 2 * by * total + n * by**2,
            cubes=self.cubes + 3 * by * squares + 3 * by**2 * total + n * by**3,
        )  # fmt: skip

    def worse(self, factor: float, origin: float) -> Tally:
        """The tally after multiplying each value by `factor`. Values are counted less `origin`, before and after."""
        return self if factor == 1 else self.scaled(factor).moved((factor - 1) * origin)

    @property
    def mean(self) -> float | None:
        """None for an empty tally."""
        return self.total / self.n if self.n else None

    @property
    def is_sound(self) -> bool:
        """Whether real values can have these sums: finite, and no negative count or sum of squares."""
        is_whole = self.n >= 0 and self.missing >= 0 and self.squares >= 0 and (self.n > 0 or self.total == 0)
        return is_whole and all(map(math.isfinite, self))

    @property
    def is_count(self) -> bool:
        """Whether zeros and ones can have these sums."""
        return self.is_sound and self.total == round(self.total) and 0 <= self.total <= self.n


class UnitSums(NamedTuple):
    """Sums over the units of one arm: each unit has n rows so far, whose values sum to x. Can be added; empty is zero.

    A unit belongs to one stratum of each epoch in which it appears, and all its rows of that epoch count there,
    whenever they come:

    - first seen in this rollout: the stratum of its first row's time bucket;
    - seen before, in stable only: bucket = minus the last earlier epoch in which it appeared, because its chance of
      getting the candidate is not that of a new unit;
    - seen before in the candidate: none, because it is not chance that it gets the candidate again;
    - seen before at the same weight, in the epoch before an override: where it counted then, because its chance is the
      same.

    A row without a unit is a unit of its own. When a unit gets a row, `- from_unit(before) + from_unit(after)` keeps
    the sums right.
    """

    size: int = 0
    """Number of units."""
    x: float = 0.0
    n: float = 0.0
    xx: float = 0.0
    xn: float = 0.0
    nn: float = 0.0
    xxx: float = 0.0
    xxn: float = 0.0
    xnn: float = 0.0
    nnn: float = 0.0

    @classmethod
    def from_unit(cls, x: float, n: float) -> UnitSums:
        """The sums of a single unit; a unit without rows adds nothing."""
        if not n:
            return cls()
        xx, xn, nn = x * x, x * n, n * n
        return cls(1, x, n, xx, xn, nn, xx * x, xx * n, xn * n, nn * n)

    def __add__(self, other: UnitSums) -> UnitSums:  # type: ignore[override]
        return UnitSums(*map(add, self, other))

    def __sub__(self, other: UnitSums) -> UnitSums:
        return UnitSums(*map(sub, self, other))

    def times(self, copies: int) -> UnitSums:
        """The sums of this many copies of these units."""
        return UnitSums(copies * self.size, *(copies * each for each in self[1:]))

    def linearised(self, ratio: float, factor: float) -> Tally:
        """The tally of r = factor x - ratio n over the units."""
        f, p = factor, ratio
        return Tally(
            n=self.size,
            total=f * self.x - p * self.n,
            squares=f**2 * self.xx - 2 * f * p * self.xn + p**2 * self.nn,
            cubes=f**3 * self.xxx - 3 * f**2 * p * self.xxn + 3 * f * p**2 * self.xnn - p**3 * self.nnn,
        )
