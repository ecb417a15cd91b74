"""Cohorts: returning units from sums over units, without a record of each one.

A cohort is the units of both arms that were drawn by lot together. A metric is a ratio: sum of values x over sum of
rows n. With the cohort's ratio p, each unit is linearised to r = x - p n (delta method; Deng, Knoblich & Lu 2018,
section 3.1), whose power sums follow from those of x and n; the labels of units are then the only randomness, and the
score of a stratum is the score of r (`scores`). A unit's rows add up before they are squared, so they may depend on
each other in any way.

Units keep getting rows, so a cohort's sums and p change from look to look: the score is computed again, and the
difference is what is new. Increments that depend on each other positively make the boundary conservative (Slepian
1962).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from sluicegate.flows.stats.counts import Draw, divergence
from sluicegate.flows.stats.pair import Pair
from sluicegate.flows.stats.scores import Score, score
from sluicegate.flows.stats.sequential import CountTest, ScoreTest
from sluicegate.flows.stats.spending import Budget
from sluicegate.registry.words.tally import Tally, UnitSums


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """Both arms of a cohort."""

    stable: UnitSums = field(default_factory=UnitSums)
    candidate: UnitSums = field(default_factory=UnitSums)

    @property
    def has_returned(self) -> bool:
        """Whether some unit has more rows than one."""
        return any(arm.nn > arm.n for arm in (self.stable, self.candidate))

    @property
    def rows(self) -> Pair:
        """The cohort by rows."""
        return Change(now=self).rows

    def linearised(self, factor: float = 1.0, origin: float = 0.0) -> Pair:
        """Both arms by unit, with stable's values times `factor`; together they sum to 0. `origin`: what was subtracted
        from each row's value."""
        rows, more = self.stable.n + self.candidate.n, (factor - 1) * origin
        ratio = (factor * self.stable.x + self.candidate.x + more * self.stable.n) / rows if rows else 0.0
        return Pair(
            stable=self.stable.linearised(ratio - more, factor), candidate=self.candidate.linearised(ratio, 1.0)
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Change:
    """A cohort that got rows: what it was at the last look and what it is now."""

    before: Cohort = field(default_factory=Cohort)
    now: Cohort

    @property
    def rows(self) -> Pair:
        """The new rows; without their squares."""
        return Pair(
            stable=_more(self.now.stable, self.before.stable),
            candidate=_more(self.now.candidate, self.before.candidate),
        )

    def score(self, factor: float = 1.0, origin: float = 0.0) -> Score:
        """What the change adds to the score under the null that the candidate's ratio is `factor` times stable's."""
        return _score(self.now, factor, origin) - _score(self.before, factor, origin)


def _more(now: UnitSums, before: UnitSums) -> Tally:
    return Tally(n=round(now.n - before.n), total=now.x - before.x)


def _score(cohort: Cohort, factor: float, origin: float) -> Score:
    """The cohort's score. Under a null other than equality, a cohort whose units are all alike adds nothing: it does
    not show how values vary."""
    if factor != 1 and score([cohort.linearised()]).variance <= 0:
        return Score()
    return score([cohort.linearised(factor, origin)])


@dataclass(frozen=True, kw_only=True)
class CohortTest:
    """Whether the candidate's ratio is above the stable one's.

    Zeros and ones are tested exactly until a unit returns; then the score goes on with what is left of alpha (a union
    bound over both parts).
    """

    test: ScoreTest
    counts: CountTest | None = None
    """The exact test, as long as the values are 0 or 1 and no unit has returned."""
    score: Score = field(default_factory=Score)
    """The score of everything so far."""
    divergence: float = 0.0
    """What all rows as counts can say against the null, in nats."""

    @classmethod
    def begin(cls, budget: Budget, *, counts: bool) -> CohortTest:
        """The test before its first look. `counts`: values are 0 or 1."""
        return cls(test=ScoreTest(budget=budget), counts=CountTest(budget=budget) if counts else None)

    @property
    def rejected(self) -> bool:
        return self.test.rejected or (self.counts is not None and self.counts.rejected)

    @property
    def reach(self) -> float | None:
        return self.test.reach if self.counts is None else self.counts.reach

    @property
    def spent(self) -> float:
        return self.test.spent if self.counts is None else self.counts.spent

    def look(
        self, changes: Sequence[Change], information: float, draws: Iterable[Draw], *, against: int,
        factor: float = 1.0, origin: float = 0.0,
    ) -> CohortTest:  # fmt: skip
        """The test after these changes.

        `against`: +1 asks whether the candidate is higher than `factor` times stable, -1 whether it is lower. `draws`
        are the same rows as counts, for the exact test.
        """
        drawn, total = tuple(draws), self.score
        for change in changes:
            new = change.score(factor, origin)
            total += new if against > 0 else -new
        after = replace(self, score=total, divergence=self.divergence + divergence(drawn))
        if self.counts is not None and not any(change.now.has_returned for change in changes):
            return replace(after, counts=self.counts.look(drawn, information))
        test = self.test if self.counts is None else _continued(self.counts)
        time = after.divergence if test.budget.by_divergence else information
        return replace(after, counts=None, test=test.look(total - test.score, time))


def _continued(counts: CountTest) -> ScoreTest:
    """The test by scores that goes on where the exact one ends."""
    start = ScoreTest(budget=counts.budget, information=counts.information, rejected=counts.rejected)
    return replace(start, lattice=replace(start.lattice, spent=counts.spent))
