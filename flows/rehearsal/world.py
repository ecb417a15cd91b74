"""World: what rehearsed traffic is like: late labels, returning users, harm in rare rows. Pure.

Randomness is passed in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from numpy.random import Generator

from sluicegate.flows.stats.pair import Pair
from sluicegate.flows.stats.populations import Population
from sluicegate.registry.words.metric import Stratum
from sluicegate.registry.words.tally import Tally, UnitSums

_CONCENTRATION = 2.0
"""Concentration of the beta distribution of users' rates. They are so unlike that many users never have the event, and
some nearly always."""


@dataclass(frozen=True, kw_only=True)
class World:
    """By default, values arrive with their requests, and each user sends one request."""

    delay: float = 0.0
    """The average number of requests that arrive between a request and its label."""
    rows_each: float = 1.0
    """Requests of each user; above 1, the gate judges by user."""
    worth: float = 1.0
    """How much a request counts in the comparison: less than 1 if, for example, the requests of a returning user are
    alike."""
    stable: Population | None = None
    candidate: Population | None = None
    """Values other than the baseline's."""


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """Requests of one stratum whose values are still to come."""

    at: float
    """The number of all requests at which these values arrive."""
    stratum: Stratum
    weight: int
    sizes: tuple[int, int]
    """The number of requests of stable and of the candidate."""

    def lumps(self, rng: Generator, delay: float) -> tuple[Cohort, ...]:
        """Two halves: the values of one arrive after half of the delay, those of the other after one and a half
        delays."""
        if not delay:
            return (self,)
        soon = tuple(int(rng.binomial(n, 0.5)) for n in self.sizes)
        late = (self.sizes[0] - soon[0], self.sizes[1] - soon[1])
        return (
            replace(self, at=self.at + delay / 2, sizes=(soon[0], soon[1])),
            replace(self, at=self.at + 1.5 * delay, sizes=late),
        )

    def draw(self, rng: Generator, stable: Population, candidate: Population) -> Pair:
        return Pair(stable=stable.draw(rng, self.sizes[0]), candidate=candidate.draw(rng, self.sizes[1]))


@dataclass(frozen=True, kw_only=True)
class Rare:
    """Zero, except for a large value in a share of the rows: a mean that rests on few values."""

    mean: float
    share: float

    @property
    def variance(self) -> float:
        return self.mean**2 * (1 / self.share - 1)

    def draw(self, rng: Generator, n: int) -> Tally:
        each, hits = self.mean / self.share, int(rng.binomial(n, self.share))
        return Tally(n, 0, hits * each, hits * each**2, hits * each**3)


def draw_units(rng: Generator, population: Population, rows: int, rows_each: float) -> tuple[Tally, UnitSums]:
    """About this many rows of users with rates of their own, by row and by user."""
    users = max(round(rows / rows_each), 1) if rows else 0
    n = 1.0 + rng.poisson(rows_each - 1, users)
    rate = min(max(population.mean, 1e-9), 1 - 1e-9)
    rates = rng.beta(_CONCENTRATION * rate, _CONCENTRATION * (1 - rate), users)
    x = rng.binomial(n.astype(int), rates).astype(float)
    powers = (x, n, x * x, x * n, n * n, x**3, x * x * n, x * n * n, n**3)
    return Tally.from_events(int(n.sum()), float(x.sum())), UnitSums(users, *(float(power.sum()) for power in powers))
