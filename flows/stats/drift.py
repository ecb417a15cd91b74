"""Drift: do the candidate's predictions lie elsewhere than stable's, by more than is tolerated?

Stable's quantiles are fixed before the rollout. Above the quantile of level q lies the share p = 1 - q of stable's
predictions; the candidate's share is tested, at every level and to both sides, against the null that it differs by no
more than the tolerance d: its odds are at most those of p + d against p, and at least those of p - d against p. That
is the two-sample distance of Kolmogorov and Smirnov at a few points, with stable's predictions of the same hours as
the other sample, so that a shift of the traffic moves both.

Each side is an exact sequential test of counts (`sequential`), or of units where these return (`cohorts`); the sides
share alpha evenly (Bonferroni). Sides on which the tolerance leaves nothing to find are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sluicegate.flows.stats.cohorts import CohortTest
from sluicegate.flows.stats.counts import Draw
from sluicegate.flows.stats.increment import Increment, SequentialTest, look
from sluicegate.flows.stats.sequential import CountTest
from sluicegate.flows.stats.spending import Budget

_RESERVE = 0.1
"""Share of alpha kept for looks beyond the planned information."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """One bound of one share."""

    level: float
    """The level of stable's quantile."""
    share: float
    """The share of stable's predictions above that quantile."""
    bound: float
    """The share that is tolerated in the candidate: the most, or the least."""

    @property
    def sign(self) -> int:
        """+1 if the test looks for more than the bound, -1 if for less."""
        return 1 if self.bound > self.share else -1

    def odds_of(self, _: Draw) -> float:
        """The odds ratio at the bound, the same in every stratum."""
        return self.odds

    @property
    def odds(self) -> float:
        """The odds ratio between the arm in question and the other one at the bound; at least 1."""
        ratio = self.bound * (1 - self.share) / (self.share * (1 - self.bound))
        return max(ratio, 1 / ratio)


@dataclass(frozen=True, kw_only=True)
class DriftTest:
    """The state of the test after some looks; `found_at` is the first look that found a drift."""

    sides: tuple[Side, ...]
    tests: tuple[SequentialTest, ...]
    """One for each side."""
    looks: int = 0
    found_at: int | None = None

    @classmethod
    def begin(
        cls, *, levels: Sequence[float], tolerance: float, alpha: float, information: float, by_cohort: bool
    ) -> DriftTest:
        """The test before its first look.

        `levels` and `tolerance` are shares; `alpha`: chance that predictions which differ by no more than the
        tolerance are ever called different; `information`: planned sum of w (1 - w) n.
        """
        bounds = ((level, round(1 - level + moved, 12)) for level in levels for moved in (tolerance, -tolerance))
        sides = tuple(Side(level=level, share=1 - level, bound=bound) for level, bound in bounds if 0 < bound < 1)
        budget = Budget(alpha=alpha / max(len(sides), 1), information=information, reserve=_RESERVE)
        test = CohortTest.begin(budget, counts=True) if by_cohort else CountTest(budget=budget)
        return cls(sides=sides, tests=(test,) * len(sides))

    def look(self, at_level: Mapping[float, Increment]) -> DriftTest:
        """The state after the increment of each level: predictions above its quantile count as 1, others as 0."""
        tests = tuple(
            look(test, at_level[side.level], against=side.sign, factor=side.bound / side.share, odds=side.odds_of)
            for test, side in zip(self.tests, self.sides, strict=True)
        )
        after = replace(self, tests=tests, looks=self.looks + 1)
        is_new = self.found_at is None and any(test.rejected for test in tests)
        return replace(after, found_at=after.looks) if is_new else after

    @property
    def spent(self) -> float:
        """Alpha spent so far, all sides together."""
        return sum(test.spent for test in self.tests)

    @property
    def drifted(self) -> tuple[Side, ...]:
        """The sides on which a drift was found."""
        return tuple(side for side, test in zip(self.sides, self.tests, strict=True) if test.rejected)
