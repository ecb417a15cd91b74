"""A trial of one metric: is the candidate worse, and which relative harms can be ruled out?

Harm and every margin are tested at every look from the first row on, and what was rejected stays rejected. Testing a
margin only once its step begins would start it exactly when the data look good. No margin needs a correction for the
others: to pass wrongly, a true harm must be among the margins ruled out (intersection-union; Berger 1982).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from sluicegate.flows.stats.bets import OF_HARM, OF_MARGIN, BetTest, Bounds
from sluicegate.flows.stats.cohorts import CohortTest
from sluicegate.flows.stats.evidence import CountEvidence, score_e_value
from sluicegate.flows.stats.increment import Increment, SequentialTest, Sums, draws, look_for_harm, look_within_margin
from sluicegate.flows.stats.scores import Score
from sluicegate.flows.stats.sequential import CountTest, ScoreTest
from sluicegate.flows.stats.spending import Budget, early_and_late, evenly

LEAST_VALUES = 30
"""No mean is judged on fewer of the candidate's values."""


class Kind(StrEnum):
    """What the values are."""

    COUNT = "count"
    """Zeros and ones: exact."""
    MEAN = "mean"
    """Real values: by bets where they are bounded, else asymptotic and skew-corrected."""


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One margin of a ladder: a relative harm, and the information planned for ruling it out."""

    margin: float
    """0.05: the candidate's mean is 5 % worse than stable's. 0: superiority."""
    information: float
    """Margins of zeros and ones do not use it: their budget follows the divergence of the events."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """What a trial tests, fixed before its first row."""

    kind: Kind
    worse_is_higher: bool = True
    alpha: float
    """Chance that a candidate that is not worse is ever found worse."""
    beta: float
    """Chance that a margin is ever ruled out although the candidate is worse by more."""
    information: float
    """Planned sum of w (1 - w) n, for finding harm."""
    rungs: tuple[Rung, ...] = ()
    moves_threshold: bool = False
    """Whether a margin moves the candidate's threshold, as for latency quantiles, instead of scaling stable's mean."""
    by_cohort: bool = False
    """Units return: increments are changes of cohorts."""
    bounds: Bounds | None = None
    """For means: the bounds of all values, as they are counted."""
    origin: float = 0.0
    """For means: what is subtracted from values, so that squares of values far from 0 do not cancel."""
    reserve: float = 0.1
    """Share of alpha and beta kept for looks beyond the planned information."""

    @property
    def sign(self) -> int:
        """+1 where higher is worse, -1 where lower is."""
        return 1 if self.worse_is_higher else -1


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The state of a trial after some looks. Frozen; `look` gives the next one."""

    design: Design
    harm: SequentialTest
    margins: tuple[SequentialTest, ...]
    """One test for each rung of the design, in its order."""
    sums: Sums = field(default_factory=Sums)
    evidence: CountEvidence = field(default_factory=CountEvidence)
    looks: int = 0
    failed_at: int | None = None
    """The look that found harm."""
    ruled_out_at: tuple[int | None, ...] = ()
    """For each rung, the look that ruled it out."""

    @classmethod
    def begin(cls, design: Design) -> Trial:
        """The trial before its first look."""
        return cls(
            design=design,
            harm=_test(design, Budget(alpha=design.alpha, information=design.information, reserve=design.reserve)),
            margins=tuple(_test(design, _budget(design, rung)) for rung in design.rungs),
            ruled_out_at=(None,) * len(design.rungs),
        )

    def look(self, increment: Increment) -> Trial:
        """The trial after one more look. A margin that was ruled out is not tested again."""
        k, sign, origin = self.looks + 1, self.design.sign, self.design.origin
        below_zero = self.sums.is_below_zero(origin)
        sums = self.sums.change(increment.changes) if self.design.by_cohort else self.sums.add(increment.pairs)
        if self.design.kind is Kind.MEAN and sums.candidate.n < LEAST_VALUES:
            increment = replace(increment, information=0.0)
        harm = look_for_harm(self.harm, increment, sign)
        margins = tuple(
            test
            if test.rejected and rung.margin > 0
            else look_within_margin(test, increment, sign, rung.margin, sums, origin, below_zero=below_zero)
            for test, rung in zip(self.margins, self.design.rungs, strict=True)
        )
        ruled_out = (at or (k if test.rejected else None) for at, test in zip(self.ruled_out_at, margins, strict=True))
        counted = self.design.kind is Kind.COUNT and not self.design.by_cohort
        return replace(
            self,
            harm=harm,
            margins=margins,
            sums=sums,
            evidence=self.evidence.add(draws(increment.pairs, sign)) if counted else self.evidence,
            looks=k,
            failed_at=self.failed_at or (k if harm.rejected else None),
            ruled_out_at=tuple(ruled_out),
        )

    @property
    def has_too_few_values(self) -> bool:
        """Whether the candidate has too few values for its mean to be judged."""
        return self.design.kind is Kind.MEAN and self.sums.candidate.n < LEAST_VALUES

    def ruled_out(self, margin: float) -> int | None:
        """The first look that ruled out this margin or a smaller one."""
        rungs = zip(self.design.rungs, self.ruled_out_at, strict=True)
        return min((at for rung, at in rungs if rung.margin <= margin and at is not None), default=None)

    @property
    def margins_ruled_out(self) -> tuple[float, ...]:
        """The margins of the design that some look has ruled out."""
        return tuple(rung.margin for rung in self.design.rungs if self.ruled_out(rung.margin) is not None)

    @property
    def e_value(self) -> float:
        """Evidence against "the candidate is not worse"."""
        match self.harm:
            case CountTest():
                return self.evidence.value
            case BetTest():
                return self.harm.e_value
            case ScoreTest(score=total) | CohortTest(score=total):
                return self._score_e_value(total)

    def _score_e_value(self, total: Score) -> float:
        if self.sums.information <= 0:
            return 1.0
        planned = total.variance * self.design.information / self.sums.information
        return score_e_value(total.value, total.variance, planned)


def _budget(design: Design, rung: Rung) -> Budget:
    if design.kind is Kind.COUNT and rung.margin > 0 and not design.moves_threshold:
        return Budget.of_events(design.beta)
    shape = evenly if rung.margin > 0 else early_and_late
    return Budget(alpha=design.beta, information=rung.information, reserve=design.reserve, shape=shape)


def _test(design: Design, budget: Budget) -> SequentialTest:
    if design.by_cohort:
        return CohortTest.begin(budget, counts=design.kind is Kind.COUNT)
    match design.kind:
        case Kind.COUNT:
            return CountTest(budget=budget)
        case Kind.MEAN if design.bounds is not None:
            is_margin = budget.shape is evenly
            return BetTest(
                budget=budget, bounds=design.bounds, ladder=OF_MARGIN if is_margin else OF_HARM, saves=is_margin
            )
        case Kind.MEAN:
            return ScoreTest(budget=budget)
