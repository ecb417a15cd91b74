"""Traffic as the gate sees it: news for each look, under ramps, cycles, returning users and late labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sluicegate.flows.stats.cohorts import Change, Cohort
from sluicegate.flows.stats.increment import Increment
from sluicegate.flows.stats.pair import Pair
from sluicegate.flows.stats.populations import Population, split
from sluicegate.flows.stats.trial import Design, Kind, Rung, Trial
from sluicegate.registry.words.tally import UnitSums
from tests.statistics.rare import Odds

Looks = Iterator[Increment]
Split = Callable[[Generator, int, float, Population, Population], Pair]
"""Rows of both builds, as `populations.split` draws them or, where the builds move, `Odds.split`."""


def rows_at_looks(total: int, *, first: int = 100, growth: float = 0.05) -> Iterator[int]:
    """Rows new at each look: `first` at least, and the given growth of what there is."""
    n = 0
    while n < total:
        new = min(max(first, int(growth * n)), total - n)
        n += new
        yield new


def steady(
    rng: Generator, stable: Population, candidate: Population, weight: float, total: int, split: Split = split
) -> Looks:  # fmt: skip
    """One weight, one time of day."""
    information = 0.0
    for new in rows_at_looks(total):
        pair = split(rng, new, weight, stable, candidate)
        information += pair.information
        yield Increment(pairs=[pair], information=information)


def ramp(
    rng: Generator, stable: Callable[[float], Population], candidate: Callable[[float], Population],
    weights: Sequence[float], total: int, split: Split = split,
) -> Looks:  # fmt: skip
    """Weights rising by time, over days in which the populations move; hours are 1/24 of 10,000 rows."""
    information, seen = 0.0, 0
    for new in rows_at_looks(total):
        pairs = []
        for part in np.array_split(np.arange(seen, seen + new), max(1, new // 400)):
            weight = weights[min(int(part[0] * len(weights) / total), len(weights) - 1)]
            hour = part[0] % 10_000 / 10_000
            pairs.append(split(rng, part.size, weight, stable(hour), candidate(hour)))
        seen += new
        information += sum(pair.information for pair in pairs)
        yield Increment(pairs=pairs, information=information)


def late(
    rng: Generator, stable: Population, candidate: Population, weights: Sequence[float], total: int, delay: float,
    split: Split = split,
) -> Looks:  # fmt: skip
    """Labels that arrive about `delay` rows later, each counted in the stratum of its assignment.

    Their values are drawn when they arrive, which is all that is known of them before.
    """
    information, seen = 0.0, 0
    waiting: list[tuple[float, int, float]] = []
    for new in rows_at_looks(total):
        for part in np.array_split(np.arange(seen, seen + new), max(1, new // 50)):
            weight = weights[min(int(part[0] * len(weights) / total), len(weights) - 1)]
            waiting.append((part[0] + rng.exponential(delay), part.size, weight))
        seen += new
        arrived = [split(rng, size, weight, stable, candidate) for due, size, weight in waiting if due <= seen]
        waiting = [each for each in waiting if each[0] > seen]
        information += sum(pair.information for pair in arrived)
        yield Increment(pairs=arrived, information=information)


@dataclass(frozen=True, kw_only=True)
class Users:
    """A population of users who return, each with a propensity and an activity of their own."""

    rate: float
    concentration: float = 4.0
    """Beta distribution of the users' event rates; small is very unlike."""
    rows_each: float = 10.0

    def looks(self, rng: Generator, harm: float, weight: float, total: int, odds: Odds | None = None) -> Looks:
        """Users by the cohort in which they came first; `harm` multiplies the rate of the candidate's."""
        odds, count = odds or Odds(), int(total / self.rows_each)
        candidate = rng.random(count) < weight
        rate, likelier = odds.propensities(rng, self.rate, self.concentration, candidate, weight)
        rate = np.minimum(np.where(candidate, rate * harm, rate), 1.0)
        activity = rng.gamma(1.0, 1.0, count)
        activity = np.cumsum(activity / activity.sum())
        came, n, x = np.full(count, -1), np.zeros(count), np.zeros(count)
        information, seen, known = 0.0, 0, dict[int, Cohort]()
        for new in rows_at_looks(total):
            who = np.minimum(np.searchsorted(activity, rng.random(new)), count - 1)
            events = (rng.random(new) < rate[who]).astype(float)
            came[who] = np.where(came[who] < 0, seen // 5000, came[who])
            n += np.bincount(who, minlength=count)
            x += np.bincount(who, events, minlength=count)
            now = {
                cohort: Cohort(stable=_units(x, n, ~candidate & here), candidate=_units(x, n, candidate & here))
                for cohort in range(seen // 5000 + 1)
                for here in [came == cohort]
            }
            changes = [Change(before=known.get(cohort, Cohort()), now=now[cohort]) for cohort in now]
            odds.knows(likelier[:, came >= 0].sum(axis=1))
            seen, known = seen + new, now
            information += new * weight * (1 - weight)
            yield Increment(information=information, changes=changes)


def _units(x: NDArray[np.float64], n: NDArray[np.float64], which: NDArray[np.bool_]) -> UnitSums:
    x, n = x[which], n[which]
    powers = (x, n, x * x, x * n, n * n, x * x * x, x * x * n, x * n * n, n * n * n)
    return UnitSums(x.size, *(float(power.sum()) for power in powers))


def design(
    kind: Kind, weight: float, total: int, *, worse_is_higher: bool = True, margins: Sequence[float] = (),
    alpha: float = 0.05, reserve: float = 0.0, by_cohort: bool = False,
) -> Design:  # fmt: skip
    information = weight * (1 - weight) * total
    return Design(
        kind=kind, worse_is_higher=worse_is_higher, alpha=alpha, beta=0.05, information=information,
        rungs=tuple(Rung(margin=m, information=information) for m in margins), reserve=reserve, by_cohort=by_cohort,
    )  # fmt: skip


def fails(design: Design, looks: Looks) -> bool:
    """Whether harm is found at any look."""
    return rows_to_fail(design, looks) < math.inf


def rows_to_fail(design: Design, looks: Looks) -> float:
    """Information collected when harm is found; infinite if it never is."""
    trial = Trial.begin(design)
    for news in looks:
        trial = trial.look(news)
        if trial.failed_at:
            return news.information
    return math.inf


def rules_out(design: Design, looks: Looks, margin: float) -> bool:
    """Whether the margin is ruled out at any look."""
    trial = Trial.begin(design)
    for news in looks:
        trial = trial.look(news)
        if trial.ruled_out(margin):
            return True
    return False
