"""Tallies: additive sufficient statistics of a metric, per stratum and arm."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import StrEnum


class Arm(StrEnum):
    """The two sides of a comparison."""

    STABLE = "stable"
    CANDIDATE = "candidate"


class Worse(StrEnum):
    """The direction in which a metric gets worse."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True, kw_only=True, order=True)
class Stratum:
    """One interval of constant weight and one time bucket: inside it only chance tells the arms apart."""

    epoch: int
    """Counts the rollout's weight changes."""
    bucket: int
    """Start of the time bucket, in whole seconds since 1970."""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Sums over the values y of one metric. Tallies add; an empty one is the zero."""

    n: int = 0
    missing: int = 0
    """Rows whose value could not be had: NaN, infinite, unparsable, summary truncated."""
    total: float = 0.0
    squares: float = 0.0
    cubes: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    @classmethod
    def of(cls, value: float) -> Tally:
        """The tally of a single value; a value that is not finite counts as missing."""
        if not math.isfinite(value):
            return cls(missing=1)
        return cls(n=1, total=value, squares=value * value, cubes=value * value * value, low=value, high=value)

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            n=self.n + other.n,
            missing=self.missing + other.missing,
            total=self.total + other.total,
            squares=self.squares + other.squares,
            cubes=self.cubes + other.cubes,
            low=min(self.low, other.low),
            high=max(self.high, other.high),
        )

    @property
    def mean(self) -> float | None:
        return self.total / self.n if self.n else None


@dataclass(frozen=True, kw_only=True)
class UnitSums:
    """Sums over the units of one arm: each unit has n rows so far, whose values sum to x. They add; zero is empty.

    A unit belongs to one stratum of each epoch in which it is met, and all its rows of that epoch count there,
    whenever they come:

    - met for the first time in this rollout: that of the time bucket of its first row;
    - met before, in stable only: bucket = minus the last earlier epoch in which it was met, because its chance of
      the candidate is not that of a new unit;
    - met before in the candidate: none; that it meets the candidate again is no chance.

    A row without a unit is a unit of its own. When a unit gets a row, `- of(old) + of(new)` keeps the sums right.
    """

    count: int = 0
    sum_x: float = 0.0
    sum_n: float = 0.0
    sum_xx: float = 0.0
    sum_xn: float = 0.0
    sum_nn: float = 0.0
    sum_xxx: float = 0.0
    sum_xxn: float = 0.0
    sum_xnn: float = 0.0
    sum_nnn: float = 0.0

    @classmethod
    def of(cls, x: float, n: int) -> UnitSums:
        """The sums of a single unit."""
        return cls(
            count=1, sum_x=x, sum_n=n, sum_xx=x * x, sum_xn=x * n, sum_nn=n * n,
            sum_xxx=x * x * x, sum_xxn=x * x * n, sum_xnn=x * n * n, sum_nnn=n * n * n,
        )  # fmt: skip

    def __add__(self, other: UnitSums) -> UnitSums:
        return UnitSums(**{each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)})

    def __sub__(self, other: UnitSums) -> UnitSums:
        return UnitSums(**{each.name: getattr(self, each.name) - getattr(other, each.name) for each in fields(self)})


@dataclass(frozen=True, kw_only=True)
class TallyRow:
    """What one arm adds to one metric in one stratum; `weight` is the candidate's share in basis points."""

    metric: str
    stratum: Stratum
    weight: int
    arm: Arm
    tally: Tally
    units: UnitSums | None = None
    """The same by unit, where units return; of the units that belong to the stratum, so not of the same rows."""


def exceedance_name(metric: str, margin: float) -> str:
    """The derived 0/1 metric "duration above (1 + margin) x the frozen threshold" of a latency metric."""
    return metric if margin == 0 else f"{metric}>{margin:g}"


def capped_name(metric: str) -> str:
    """The derived 0/1 metric "value beyond the declared cap" of a metric that has one."""
    return f"{metric}^capped"


def difference_name(metric: str) -> str:
    """The derived metric "candidate minus stable on the same request" of a metric that a shadow compares."""
    return f"{metric}~paired"


LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
"""The quantiles of stable's predictions at which the candidate's are compared."""


def level_name(metric: str, level: float) -> str:
    """The derived 0/1 metric "prediction above stable's quantile", frozen at the start, of a prediction metric."""
    return f"{metric}@{level:g}"
