"""Means: the stratified randomisation score, and its skew-corrected step on a lattice.

Given the values of a stratum and its sizes n1 and n0, labels are a random draw. The score S = sum of the candidate's
values - n1 mean(all) then has mean 0, variance V and third cumulant K3 known in closed form, with m2 and m3 the central
moments of all n values:

    V  = n1 n0 m2 / (n - 1)                            (sampling without replacement; Cochran 1977, theorem 2.2)
    K3 = n1 n0 (n0 - n1) m3 / ((n - 1)(n - 2))         (Sukhatme 1944; enumerated in tests/unit/stats/test_trial.py)

A step is spread as a shifted gamma distribution (Pearson's type III), which has all three. At weights of 1-5 % it is
the skewness that breaks tests which assume a normal distribution.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from operator import add, sub
from typing import NamedTuple

import numpy as np
from scipy.special import gammainc, gammaincc, ndtr

from sluicegate.flows.stats.lattice import Lattice, Masses
from sluicegate.flows.stats.pair import Pair
from sluicegate.registry.words.tally import Tally

_ALMOST_NORMAL = 0.1
"""Skewness below which the cube root of a gamma is as good as normal: within 0.4 % of its tail at 4 sd."""
_SYMMETRIC = 1e-6
_ROUNDING = 1e-14
"""A variance below this share of the mean square is a rounding error of the sums."""
_MOST_SKEWED = 8.0
_FINE, _COARSE = 30, 60
"""The lattice keeps between this many points per standard deviation of the score."""


class Score(NamedTuple):
    """The score of some strata; scores of independent strata add."""

    value: float = 0.0
    """S: the sum of the candidate's values above its share of all values."""
    randomisation: float = 0.0
    """Variance of S over random labels: right when both arms have one distribution."""
    welch: float = 0.0
    """Variance of S from each arm's own spread: right when only the means are equal."""
    third: float = 0.0
    """Third cumulant of S over random labels."""

    def __add__(self, other: Score) -> Score:  # type: ignore[override]
        return Score(*map(add, self, other))

    def __sub__(self, other: Score) -> Score:
        return Score(*map(sub, self, other))

    def __neg__(self) -> Score:
        return self._replace(value=-self.value, third=-self.third)

    @property
    def variance(self) -> float:
        """The larger of both variances: right when the null says no more than equal means.

        At unequal weights Welch's W rises with S where values are skewed, because Cov(S, W) is the third cumulant: a
        candidate that looks bad would also look noisy. The part that S explains, K3 S / V, is subtracted.
        """
        if self.randomisation <= 0:
            return self.welch
        return max(self.randomisation, self.welch - max(0.0, self.third * self.value / self.randomisation))

    @property
    def skewness(self) -> float:
        return self.third / self.variance**1.5 if self.variance > 0 else 0.0


def score(pairs: Iterable[Pair]) -> Score:
    """The score of strata. A stratum with an empty arm, or whose values are all the same, carries no information."""
    total = Score()
    for pair in pairs:
        if pair.stable.n > 0 and pair.candidate.n > 0:
            total += _of_stratum(pair)
    return total


def _of_stratum(pair: Pair) -> Score:
    n1, n0, n = pair.candidate.n, pair.stable.n, pair.n
    both = pair.stable + pair.candidate
    mean = both.total / n
    second = max(both.squares / n - mean**2, 0.0)
    if second <= _ROUNDING * both.squares / n:
        return Score()
    third = both.cubes / n - 3 * mean * both.squares / n + 2 * mean**3
    pooled = second * n / (n - 1)
    return Score(
        value=pair.candidate.total - n1 * mean,
        randomisation=n1 * n0 * second / (n - 1),
        welch=(n1 * n0 / n) ** 2 * (_spread(pair.candidate, pooled) / n1 + _spread(pair.stable, pooled) / n0),
        third=n1 * n0 * (n0 - n1) * third / ((n - 1) * (n - 2)) if n > 2 else 0.0,
    )


def _spread(arm: Tally, otherwise: float) -> float:
    """The arm's sample variance; of a single row, `otherwise`."""
    return max((arm.squares - arm.total**2 / arm.n) / (arm.n - 1), 0.0) if arm.n > 1 else otherwise


def spread(lattice: Lattice, variance: float, third: float, so_far: float) -> Lattice:
    """The lattice after a step of this variance and third cumulant; `so_far` is the variance of all steps with it."""
    if variance <= 0:
        return lattice
    if lattice.masses.size == 1:
        lattice = Lattice(origin=lattice.origin, pitch=math.sqrt(so_far) / _FINE, spent=lattice.spent)
    while math.sqrt(so_far) / lattice.pitch > _COARSE:
        lattice = lattice.coarsen()
    reach, masses = _kernel(variance / lattice.pitch**2, third / lattice.pitch**3)
    return lattice.step(-reach * lattice.pitch, masses)


def _kernel(variance: float, third: float) -> tuple[int, Masses]:
    """Probabilities at -reach, ..., 0, 1, ... of a step with mean 0, in units of the pitch."""
    if variance < 1:
        return 1, np.array([variance / 2, 1 - variance, variance / 2])
    sd = math.sqrt(variance - 1 / 12)  # Sheppard: cells of width 1 add 1/12
    skewness = max(-_MOST_SKEWED, min(_MOST_SKEWED, third / variance**1.5))
    body = math.ceil(8.5 * sd) + 1
    long = math.ceil((8.5 + 18 * abs(skewness)) * sd) + 1
    below, above = (body, long) if skewness >= 0 else (long, body)
    edges = (np.arange(-below, above + 2) - 0.5) / sd
    masses = _cells(edges, skewness) if skewness >= 0 else _cells(-edges[::-1], -skewness)[::-1]
    return below, masses / masses.sum()


def _cells(edges: Masses, skewness: float) -> Masses:
    """Probabilities between the edges of a standardised shifted gamma; skewness >= 0. Each tail is computed from its
    own end."""
    centre = int(np.searchsorted(edges, 0.0))
    below = _below(edges[: centre + 1], skewness)
    above = _above(edges[centre:], skewness)
    return np.concatenate((below[1:] - below[:-1], above[:-1] - above[1:]))


def _below(x: Masses, skewness: float) -> Masses:
    if skewness < _ALMOST_NORMAL:
        return np.asarray(ndtr(_normal(x, skewness)))
    return np.asarray(gammainc(4 / skewness**2, np.maximum((x + 2 / skewness) * 2 / skewness, 0.0)))


def _above(x: Masses, skewness: float) -> Masses:
    if skewness < _ALMOST_NORMAL:
        return np.asarray(ndtr(-_normal(x, skewness)))
    return np.asarray(gammaincc(4 / skewness**2, (x + 2 / skewness) * 2 / skewness))


def _normal(x: Masses, skewness: float) -> Masses:
    """The normal deviate of an almost normal gamma's value: the cube root law (Wilson & Hilferty 1931)."""
    if skewness < _SYMMETRIC:
        return x
    root = np.cbrt(np.maximum(1 + x * skewness / 2, 0.0))
    return np.asarray((root - 1 + skewness**2 / 36) * 6 / skewness)
