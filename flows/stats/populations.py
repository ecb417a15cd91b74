"""Populations: what the values of one arm are drawn from, for forecasts, certificates, proofs and benchmarks.

Randomness is passed in. A population draws the moments of n values, which is all that a test sees.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sluicegate.flows.stats.pair import Pair
from sluicegate.registry.words.tally import Tally


class Population(Protocol):
    """Where values come from."""

    @property
    def mean(self) -> float: ...

    @property
    def variance(self) -> float: ...

    def draw(self, rng: Generator, n: int) -> Tally:
        """The tally of n independent values."""
        ...


@dataclass(frozen=True, kw_only=True)
class Events:
    """Zeros and ones."""

    rate: float

    @property
    def mean(self) -> float:
        return self.rate

    @property
    def variance(self) -> float:
        return self.rate * (1 - self.rate)

    def draw(self, rng: Generator, n: int) -> Tally:
        events = int(rng.binomial(n, self.rate))
        return Tally.from_events(n, events)


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Gamma values: losses of predictions, and other things of moderate skewness."""

    mean: float
    sd: float
    cap: float = math.inf
    """Values beyond the cap count as the cap; mean and variance are those before."""
    origin: float = 0.0
    """What is subtracted from values."""

    @property
    def variance(self) -> float:
        return self.sd**2

    def draw(self, rng: Generator, n: int) -> Tally:
        shape = (self.mean / self.sd) ** 2
        return tally_of(np.minimum(rng.gamma(shape, 1.0, n) * (self.mean / shape), self.cap) - self.origin)


@dataclass(frozen=True, kw_only=True)
class Durations:
    """Lognormal values."""

    mean: float
    sigma: float
    """Standard deviation of the logarithm."""
    cap: float = math.inf
    """Values beyond the cap count as the cap; mean and variance are those before."""

    @property
    def variance(self) -> float:
        return self.mean**2 * math.expm1(self.sigma**2)

    def draw(self, rng: Generator, n: int) -> Tally:
        values = rng.lognormal(math.log(self.mean) - self.sigma**2 / 2, self.sigma, n)
        return tally_of(np.minimum(values, self.cap))


@dataclass(frozen=True, kw_only=True)
class Purchases:
    """Mostly zeros; a share `rate` spends a lognormal amount, capped at `cap` times the median."""

    rate: float
    amount: float = 1.0
    """The mean of the amounts before the cap."""
    sigma: float = 1.0
    cap: float = 20.0

    @property
    def _limit(self) -> float:
        """The cap in standard deviations of the logarithm, above the median."""
        return math.log(self.cap) / self.sigma

    def _moment(self, k: int) -> float:
        """E min(X, cap)^k of the amounts: lognormal below the cap, cap^k at it."""
        median = self.amount * math.exp(-(self.sigma**2) / 2)
        below = math.exp(k * k * self.sigma**2 / 2) * _phi(self._limit - k * self.sigma)
        return median**k * (below + self.cap**k * _phi(-self._limit))

    @property
    def mean(self) -> float:
        return self.rate * self._moment(1)

    @property
    def variance(self) -> float:
        return self.rate * self._moment(2) - self.mean**2

    def draw(self, rng: Generator, n: int) -> Tally:
        bought = int(rng.binomial(n, self.rate))
        median = self.amount * math.exp(-(self.sigma**2) / 2)
        values = np.minimum(rng.lognormal(math.log(median), self.sigma, bought), self.cap * median)
        return tally_of(values)._replace(n=n)


def tally_of(values: NDArray[np.float64]) -> Tally:
    """The tally of an array of values."""
    squares = values * values
    return Tally(
        n=values.size, total=float(values.sum()), squares=float(squares.sum()), cubes=float((squares * values).sum())
    )


def split(rng: Generator, n: int, weight: float, stable: Population, candidate: Population) -> Pair:
    """n rows, each the candidate's with probability `weight`."""
    mine = int(rng.binomial(n, weight))
    return Pair(stable=stable.draw(rng, n - mine), candidate=candidate.draw(rng, mine))


def sample_size(stable: Population, candidate: Population, weight: float) -> float:
    """Rows that a two-sided z test needs that knows the effect and looks once: alpha .05, power .80."""
    z = 1.959964 + 0.841621
    variance = candidate.variance / weight + stable.variance / (1 - weight)
    return z**2 * variance / (candidate.mean - stable.mean) ** 2


def _phi(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))
