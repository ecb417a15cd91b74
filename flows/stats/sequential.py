"""A sequential test: a lattice, what was observed, and the alpha spent so far. Frozen; each look gives the next one.

What was rejected at one look stays rejected, because the budget covers all looks together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from sluicegate.flows.stats import counts, scores
from sluicegate.flows.stats.counts import Draw
from sluicegate.flows.stats.lattice import Lattice
from sluicegate.flows.stats.scores import Score
from sluicegate.flows.stats.spending import Budget

_TOO_SKEWED = 2.0


@dataclass(frozen=True, kw_only=True)
class CountTest:
    """Whether an arm has more events than chance gives it. Exact."""

    budget: Budget
    lattice: Lattice = field(default_factory=Lattice)
    observed: int = 0
    """The arm's events."""
    expected: float = 0.0
    """The arm's events on average under the null."""
    divergence: float = 0.0
    """What all events can say against the null, in nats."""
    information: float = 0.0
    """At the last look that could reject; the divergence, if alpha is spent by that."""
    reach: float | None = None
    """How far above `expected` the last look rejected from; None when it could not."""
    rejected: bool = False

    @property
    def spent(self) -> float:
        return self.lattice.spent

    def look(self, draws: Iterable[Draw], information: float) -> CountTest:
        """The test after these new draws. Without more information nothing is spent and nothing is rejected."""
        new = tuple(draws)
        lattice = counts.spread(self.lattice, new)
        observed = self.observed + sum(draw.mine for draw in new)
        expected = self.expected + counts.expected(new)
        divergence = self.divergence + counts.divergence(new)
        test = replace(self, lattice=lattice, observed=observed, expected=expected, divergence=divergence)
        information = divergence if self.budget.by_divergence else information
        if information <= self.information:
            return test
        cut, critical = lattice.cut_counts(self.budget.spent(information))
        reach = None if critical is None else critical - expected
        rejected = self.rejected or (critical is not None and observed >= critical - 0.5)
        return replace(test, lattice=cut, information=information, reach=reach, rejected=rejected)


@dataclass(frozen=True, kw_only=True)
class ScoreTest:
    """Whether the candidate's mean is above the stable one's, after the caller's scaling. Asymptotic."""

    budget: Budget
    lattice: Lattice = field(default_factory=Lattice)
    score: Score = field(default_factory=Score)
    variance: float = 0.0
    """The variance to which the lattice was spread: the largest so far."""
    information: float = 0.0
    reach: float | None = None
    """The score from which the last look rejected; None when it could not."""
    rejected: bool = False

    @property
    def spent(self) -> float:
        return self.lattice.spent

    def look(self, new: Score, information: float) -> ScoreTest:
        """The test after the score of new rows. While the score's skewness exceeds 2, the lattice spreads but is never
        cut."""
        total = self.score + new
        variance = max(total.variance, self.variance)
        lattice = scores.spread(self.lattice, variance - self.variance, new.third, variance)
        test = replace(self, lattice=lattice, score=total, variance=variance)
        if information <= self.information or abs(total.skewness) > _TOO_SKEWED:
            return test
        cut, reach = lattice.cut(self.budget.spent(information))
        rejected = self.rejected or (reach is not None and total.value >= reach)
        return replace(test, lattice=cut, information=information, reach=reach, rejected=rejected)
