"""Sample ratio: did each arm get the share of rows that its weight asks for?

A mismatch means that data are lost or assigned wrongly. It says nothing about the candidate: hold and alarm, but never
roll back for it. Given a stratum's rows, the candidate's number is binomial with the weight, so the lattice is exact
under continuous looking and changing weights (Fabijan et al. 2019 is the test at a fixed time; Lindon & Malek 2022 a
sequential one). For late labels, `share` is the realised share of the cohort's assignments.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from sluicegate.flows.stats.lattice import Lattice, Masses
from sluicegate.flows.stats.spending import Budget

_WINDOW = 12.0


@dataclass(frozen=True, kw_only=True, order=True)
class Arrivals:
    """New units (or requests, where each is assigned by itself, or labels) of one stratum."""

    share: float
    """The candidate's share by design, in [0, 1]."""
    candidate: int
    stable: int

    @property
    def n(self) -> int:
        return self.candidate + self.stable

    def plus(self, other: Arrivals) -> Arrivals:
        """Both together, at this share."""
        return Arrivals(share=self.share, candidate=self.candidate + other.candidate, stable=self.stable + other.stable)


@dataclass(frozen=True, kw_only=True)
class SampleRatioTest:
    """Two one-sided tests, of too many and of too few, with half of alpha each."""

    budget: Budget
    """The budget of one side."""
    many: Lattice = field(default_factory=Lattice)
    """The lattice of the candidate's count."""
    few: Lattice = field(default_factory=Lattice)
    """The lattice of stable's count."""
    candidate: int = 0
    stable: int = 0
    information: float = 0.0
    mismatch: bool = False

    @classmethod
    def begin(cls, alpha: float, information: float, reserve: float = 0.1) -> SampleRatioTest:
        """A test with alpha for both sides together; `information` is the planned sum of w (1 - w) n."""
        return cls(budget=Budget(alpha=alpha / 2, information=information, reserve=reserve))

    def look(self, new: Iterable[Arrivals]) -> SampleRatioTest:
        """The test after these arrivals. A mismatch that was found stays found."""
        arrivals = _by_share(new)
        many, few, information = self.many, self.few, self.information
        for arrival in arrivals:
            many = many.step(*binomial(arrival.n, arrival.share))
            few = few.step(*binomial(arrival.n, 1 - arrival.share))
            information += arrival.n * arrival.share * (1 - arrival.share)
        candidate = self.candidate + sum(arrival.candidate for arrival in arrivals)
        stable = self.stable + sum(arrival.stable for arrival in arrivals)
        grown = replace(self, many=many, few=few, candidate=candidate, stable=stable)
        if information <= self.information:
            return grown
        budget = self.budget.spent(information)
        many, most = many.cut_counts(budget)
        few, least = few.cut_counts(budget)
        is_beyond = (most is not None and candidate > most - 0.5) or (least is not None and stable > least - 0.5)
        return replace(grown, many=many, few=few, information=information, mismatch=self.mismatch or is_beyond)


def _by_share(new: Iterable[Arrivals]) -> list[Arrivals]:
    """One entry for each share; those of equal shares add."""
    sums: dict[float, Arrivals] = {}
    for arrival in new:
        known = sums.get(arrival.share)
        sums[arrival.share] = arrival if known is None else known.plus(arrival)
    return sorted(arrival for arrival in sums.values() if arrival.n > 0)


@lru_cache(maxsize=64)
def binomial(n: int, share: float) -> tuple[int, Masses]:
    """Smallest count kept and the binomial probabilities from there, within 12 standard deviations of the mean."""
    if share <= 0 or share >= 1:
        return (0 if share <= 0 else n), np.ones(1)
    centre, reach = n * share, math.ceil(_WINDOW * math.sqrt(n * share * (1 - share)) + 2)
    low, high = max(0, math.floor(centre) - reach), min(n, math.ceil(centre) + reach)
    k = np.arange(low, high, dtype=np.float64)
    logs = np.concatenate(([0.0], np.cumsum(np.log((n - k) / (k + 1)) + math.log(share / (1 - share)))))
    masses = np.exp(logs - logs.max())
    masses /= masses.sum()
    masses.flags.writeable = False
    return low, masses
