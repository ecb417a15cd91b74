"""How often a test errs, measured with builds of which it errs often: importance sampling.

The chance of an error under the null is the mean, over runs of other builds, of the likelihood ratio of null to others
at the moment of the error (Siegmund 1976, on sequential tests). Such runs err often and early, so that some dozens say
as much as a thousand of the null's, in less time. A spending test errs early and late, for large effects and for small
ones; so each run draws its builds from several, the null among them, and is weighed by the mean of their likelihoods
(Hesterberg 1995). No weight is then above their number, however unlikely the run.

Both builds move, each value y of them by exp(l y), so that a sum tells the builds apart as far as a test can: at the
weight w the candidate's mean becomes 1 + (1 - w) r times what it was, and stable's 1 - w r times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sluicegate.flows.stats.pair import Pair
from sluicegate.flows.stats.populations import Events, Population, tally_of
from sluicegate.registry.words.tally import Tally

Floats = NDArray[np.float64]
Times = tuple[float, ...]
"""What a mean is multiplied by in each pair of builds."""
_LEAST, _MOST = 0.02, 0.98
_FAR = 0.9
_NORMAL_99 = 2.326


@dataclass(frozen=True)
class Weighed:
    """A chance as the mean of weights."""

    weights: tuple[float, ...]

    @property
    def observed(self) -> float:
        return float(np.mean(self.weights))

    @property
    def error(self) -> float:
        """The standard error."""
        return float(np.std(self.weights, ddof=1)) / math.sqrt(len(self.weights))

    @property
    def at_least(self) -> float:
        """The 99 % lower bound of the true chance."""
        return self.observed - _NORMAL_99 * self.error

    def __str__(self) -> str:
        return f"{self.observed:.4f} +- {self.error:.4f} of {len(self.weights)} weighed runs"


@dataclass(frozen=True)
class Moved:
    """Values y, each as likely as exp(tilt y)."""

    tilt: float
    log_mean: float
    """Of exp(tilt y), had all values the same chance."""
    shares: Floats
    """Of the values up to each."""


@dataclass(frozen=True, eq=False)
class Values:
    """A population of so many values, each as likely as the others, times a scale."""

    base: Floats
    scale: float = 1.0
    known: dict[float, Moved] = field(default_factory=dict)
    """What was found of other means, by what the mean is multiplied by."""

    @property
    def mean(self) -> float:
        return self.scale * float(self.base.mean())

    @property
    def variance(self) -> float:
        return self.scale**2 * float(self.base.var())

    def draw(self, rng: Generator, n: int) -> Tally:
        return tally_of(self.scale * rng.choice(self.base, n))

    def times(self, factor: float) -> Values:
        """Each value multiplied."""
        return replace(self, scale=self.scale * factor)

    def moved(self, times: float) -> Moved:
        """The same values, less or more often, so that the mean is so many times as large."""
        if times not in self.known:
            self.known[times] = _moved(self.base, times)
        return self.known[times]


class Odds:
    """The builds of one run, and how much likelier each pair of builds makes what was drawn than the null does.

    Without effects they are the null's. `chosen`: which of the pairs it is, the null's being the first.
    """

    def __init__(self, effects: Sequence[float] = (), chosen: int = 0) -> None:
        self._effects, self.chosen = (0.0, *effects), chosen
        self._logs = np.zeros(len(self._effects))

    @property
    def weight(self) -> float:
        """The null's likelihood over the mean of all."""
        return 1 / float(np.mean(np.exp(np.minimum(self._logs, 700.0))))

    def split(self, rng: Generator, n: int, weight: float, stable: Population, candidate: Population) -> Pair:
        """As `populations.split`: n rows, each the candidate's with probability `weight`."""
        mine = int(rng.binomial(n, weight))
        of_stable, of_candidate = self.times(weight)
        return Pair(
            stable=self.draw(rng, n - mine, stable, of_stable), candidate=self.draw(rng, mine, candidate, of_candidate)
        )

    def times(self, weight: float) -> tuple[Times, Times]:
        """Of stable's mean, and of the candidate's."""
        stable, candidate = (tuple(max(1 + by * r, _LEAST) for r in self._effects) for by in (-weight, 1 - weight))
        return stable, candidate

    def draw(self, rng: Generator, n: int, of: Population, times: Times) -> Tally:
        """n values."""
        match of:
            case Events(rate=0.0):
                return of.draw(rng, n)
            case Events(rate=rate):
                rates = np.minimum(rate * np.array(times), max(_MOST, rate))
                events = int(rng.binomial(n, rates[self.chosen]))
                self._logs += events * np.log(rates / rate) + (n - events) * np.log((1 - rates) / (1 - rate))
                return Tally.from_events(n, events)
            case Values(base=base, scale=scale):
                moved = [of.moved(each) for each in times]
                values = base[np.searchsorted(moved[self.chosen].shares, rng.random(n))]
                self._logs += [each.tilt * float(values.sum()) - n * each.log_mean for each in moved]
                return tally_of(scale * values)
        raise TypeError(f"of {of} no likelihood is known")

    def propensities(
        self, rng: Generator, mean: float, concentration: float, is_candidate: NDArray[np.bool_], weight: float
    ) -> tuple[Floats, Floats]:
        """Rates of units by a beta law, each r as likely as 1 + l (r - mean) makes it, and for each pair of builds the
        logarithms of that. `knows` is told those of the units that were met."""
        a, b = mean * concentration, (1 - mean) * concentration
        of_stable, of_candidate = (np.array(times)[:, np.newaxis] for times in self.times(weight))
        wanted = (np.where(is_candidate, of_candidate, of_stable) - 1) * mean * (concentration + 1)
        tilts = np.clip(wanted / (mean * (1 - mean)), -_FAR / (1 - mean), _FAR / mean)
        mine = tilts[self.chosen]
        is_moved = rng.random(mine.size) < np.where(mine > 0, mine * mean, -mine * (1 - mean))
        rates = rng.beta(a + (is_moved & (mine > 0)), b + (is_moved & (mine < 0)))
        return rates, np.log1p(tilts * (rates - mean))

    def knows(self, logs: Floats) -> None:
        """The logarithms of the likelihood ratios of all there is."""
        self._logs = logs

    def events(self, rng: Generator, rates: Floats, is_candidate: NDArray[np.bool_], weight: float) -> Floats:
        """Zeros and ones of rows that have a rate each."""
        of_stable, of_candidate = (np.array(times)[:, np.newaxis] for times in self.times(weight))
        moved = np.minimum(rates * np.where(is_candidate, of_candidate, of_stable), np.maximum(_MOST, rates))
        hit = rng.random(rates.size) < moved[self.chosen]
        self._logs += np.log(np.where(hit, moved / rates, (1 - moved) / (1 - rates))).sum(axis=1)
        return hit.astype(float)


def _moved(values: Floats, times: float) -> Moved:
    """By Newton's steps. Means at the very ends are not reached, which no weight depends on."""
    low, middle, top = float(values.min()), float(values.mean()), float(values.max())
    wanted = min(max(times * middle, middle - _FAR * (middle - low)), middle + _FAR * (top - middle))
    tilt, likely = 0.0, np.ones(values.size)
    for _ in range(100):
        mean = float(likely @ values / likely.sum())
        step = (wanted - mean) * float(likely.sum()) / float(likely @ (values - mean) ** 2)
        tilt += math.copysign(min(abs(step), 1 / top + abs(tilt)), step)
        likely = np.exp(tilt * values - (most := max(tilt * low, tilt * top)))
        if abs(step) <= 1e-9 * abs(tilt):
            break
    shares = np.cumsum(likely)
    return Moved(tilt, math.log(float(likely.mean())) + most, shares / shares[-1])


def chance(run: Callable[[Generator, Odds], bool], effects: Sequence[float], *, runs: int, seed: int) -> Weighed:
    """How often `run` errs where there is no effect. `effects`: of the other builds, each in its turn."""
    weights = []
    for i in range(runs):
        odds = Odds(effects, i % (len(effects) + 1))
        weights.append(odds.weight if run(np.random.default_rng((seed, i)), odds) else 0.0)
    return Weighed(tuple(weights))


def effects_to_find(of: Population, information: float, *, sign: int = 1) -> tuple[float, ...]:
    """Effects, as shares of the mean, that show by 0.3 % of the information, by 1 %, and so on until all of it."""
    spread = math.sqrt(of.variance) / of.mean
    return tuple(sign * 2.2 * spread / math.sqrt(t * information) for t in (0.003, 0.01, 0.03, 0.1, 0.3, 1.0))
