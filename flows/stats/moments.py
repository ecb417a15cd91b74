"""Moments: additive sums over the values of one arm in one stratum, and the pair of both arms."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Count and power sums of values y. Moments add; the empty one is the zero."""

    n: int = 0
    total: float = 0.0
    """Sum of y."""
    squares: float = 0.0
    """Sum of y squared."""
    cubes: float = 0.0
    """Sum of y cubed."""

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            n=self.n + other.n,
            total=self.total + other.total,
            squares=self.squares + other.squares,
            cubes=self.cubes + other.cubes,
        )

    def scaled(self, factor: float) -> Moments:
        """The moments of the values times `factor`."""
        return Moments(
            n=self.n, total=self.total * factor, squares=self.squares * factor**2, cubes=self.cubes * factor**3
        )

    @property
    def is_sound(self) -> bool:
        """Whether the sums can be those of real values: finite, and no negative count or sum of squares."""
        finite = all(math.isfinite(value) for value in (self.n, self.total, self.squares, self.cubes))
        return finite and self.n >= 0 and self.squares >= 0 and (self.n > 0 or self.total == 0)

    @property
    def is_count(self) -> bool:
        """Whether the sums can be those of zeros and ones."""
        return self.is_sound and self.total == round(self.total) and 0 <= self.total <= self.n


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Both arms of one stratum: inside it, only chance decided who got which arm."""

    stable: Moments = field(default_factory=Moments)
    candidate: Moments = field(default_factory=Moments)

    def __add__(self, other: Pair) -> Pair:
        return Pair(stable=self.stable + other.stable, candidate=self.candidate + other.candidate)

    @property
    def n(self) -> int:
        return self.stable.n + self.candidate.n

    @property
    def information(self) -> float:
        """n1 n0 / n of the realised sizes: what w (1 - w) n is in expectation. 0 when an arm is empty."""
        return self.stable.n * self.candidate.n / self.n if self.n else 0.0
