"""A trial of one metric: is the candidate worse, and which relative harms can be ruled out?

Harm and every margin are tested at every look from the first row on, and what was rejected stays rejected. Testing a
margin only once its step begins would start it exactly when the data look good. No margin needs a correction for the
others: to pass wrongly, a true harm must be among the margins ruled out (intersection-union; Berger 1982).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from flows.stats.counts import Draw
from flows.stats.evidence import CountEvidence, score_e_value
from flows.stats.moments import Moments, Pair
from flows.stats.scores import Score, score
from flows.stats.sequential import CountTest, ScoreTest
from flows.stats.spending import Budget

Test = CountTest | ScoreTest
Exceedances = Mapping[float, Sequence[Pair]]
"""For each margin, pairs whose candidate was counted at a threshold moved by it."""

_LEAST_ODDS = 1e-3


class Kind(StrEnum):
    """What the values are."""

    COUNT = "count"
    """Zeros and ones: exact."""
    MEAN = "mean"
    """Real values: asymptotic, skew-corrected."""


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One margin of a ladder: a relative harm, and the information planned for ruling it out."""

    margin: float
    """0.05: the candidate's mean is 5 % worse than stable's. Below 1 where lower is worse. 0: superiority."""
    information: float


@dataclass(frozen=True, kw_only=True)
class Design:
    """What a trial is to find out, fixed before its first row."""

    kind: Kind
    worse_is_higher: bool = True
    alpha: float
    """Chance that a candidate that is not worse is ever found worse."""
    beta: float
    """Chance that a margin is ever ruled out although the candidate is worse by more."""
    information: float
    """Planned sum of w (1 - w) n, for finding harm."""
    rungs: tuple[Rung, ...] = ()
    reserve: float = 0.1
    """Share of alpha and beta kept for looks beyond the planned information."""

    @property
    def sign(self) -> int:
        """+1 where higher is worse, -1 where lower is."""
        return 1 if self.worse_is_higher else -1


@dataclass(frozen=True, kw_only=True)
class Sums:
    """What estimates are made of; adds over strata."""

    information: float = 0.0
    """Sum of n1 n0 / n over steps of the strata."""
    difference: float = 0.0
    """Sum of n1 n0 / n (candidate mean - stable mean)."""
    level: float = 0.0
    """Sum of n1 n0 / n stable mean."""
    stable: Moments = field(default_factory=Moments)
    candidate: Moments = field(default_factory=Moments)

    def add(self, pairs: Sequence[Pair]) -> Sums:
        information, difference, level = self.information, self.difference, self.level
        stable, candidate = self.stable, self.candidate
        for pair in pairs:
            stable, candidate = stable + pair.stable, candidate + pair.candidate
            weight = pair.information
            if weight > 0:
                mean = pair.stable.total / pair.stable.n
                information += weight
                difference += weight * (pair.candidate.total / pair.candidate.n - mean)
                level += weight * mean
        return Sums(
            information=information, difference=difference, level=level, stable=stable, candidate=candidate
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The state of a trial after some looks. Frozen; `look` gives the next one."""

    design: Design
    harm: Test
    margins: tuple[Test, ...]
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
        budgets = (
            Budget(alpha=design.beta, information=rung.information, reserve=design.reserve) for rung in design.rungs
        )
        harm = Budget(alpha=design.alpha, information=design.information, reserve=design.reserve)
        return cls(
            design=design,
            harm=_test(design.kind, harm),
            margins=tuple(_test(design.kind, budget) for budget in budgets),
            ruled_out_at=(None,) * len(design.rungs),
        )

    def look(self, pairs: Sequence[Pair], information: float, exceedances: Exceedances | None = None) -> Trial:
        """The trial after one more look at the rows new since the last, one pair for each stratum that got any.

        `information` is what was collected so far, in the unit of the design's; where it has not grown, nothing is
        tested. `exceedances` come where margins move the candidate's threshold instead of its odds.
        """
        k = self.looks + 1
        worse = self.design.sign
        sums = self.sums.add(pairs)
        harm = _look(self.harm, pairs, information, against=worse)
        margins = tuple(
            test
            if test.rejected and rung.margin > 0
            else _look_at_margin(test, rung.margin, self.design, sums, exceedances, pairs, information)
            for test, rung in zip(self.margins, self.design.rungs, strict=True)
        )
        ruled_out = (at or (k if test.rejected else None) for at, test in zip(self.ruled_out_at, margins, strict=True))
        evidence = self.evidence.add(_draws(pairs, worse)) if self.design.kind is Kind.COUNT else self.evidence
        return replace(
            self, harm=harm, margins=margins, sums=sums, evidence=evidence, looks=k,
            failed_at=self.failed_at or (k if harm.rejected else None), ruled_out_at=tuple(ruled_out),
        )  # fmt: skip


def _test(kind: Kind, budget: Budget) -> Test:
    match kind:
        case Kind.COUNT:
            return CountTest(budget=budget)
        case Kind.MEAN:
            return ScoreTest(budget=budget)


def _look_at_margin(
    test: Test, margin: float, design: Design, sums: Sums, exceedances: Exceedances | None, pairs: Sequence[Pair],
    information: float,
) -> Test:  # fmt: skip
    if exceedances is not None and margin > 0:
        return _look(test, exceedances[margin], information, against=-design.sign)
    return _look(test, pairs, information, against=-design.sign, factor=1 + design.sign * margin, rates=sums)


def _look(
    test: Test,
    pairs: Sequence[Pair],
    information: float,
    *,
    against: int,
    factor: float = 1.0,
    rates: Sums | None = None,
) -> Test:
    """One look of one test. `against` +1 rejects when the candidate is high; `factor` is its null's ratio to stable."""
    match test:
        case CountTest():
            odds = odds_of_ratio(factor, rates) if rates is not None else 1.0
            return test.look(_draws(pairs, against), information, odds if against > 0 else 1 / odds)
        case ScoreTest():
            new = score(replace(pair, stable=pair.stable.scaled(factor)) for pair in pairs)
            return test.look(new if against > 0 else -new, information)


def odds_of_ratio(ratio: float, sums: Sums) -> float:
    """The odds ratio that a ratio of two rates amounts to, judged from the rate of both arms together.

    With the stable rate p it is ratio (1 - p) / (1 - ratio p). p is taken from the rows of both arms, on which the
    test conditions anyway, at the end of its interval that makes passing harder; for rare events p hardly matters.
    """
    n = sums.stable.n + sums.candidate.n
    if ratio == 1 or n == 0:
        return ratio
    rate = (sums.stable.total + sums.candidate.total) / n
    rate = max(0.0, rate - 2 * math.sqrt(rate * (1 - rate) / n))
    stable = rate / (1 + (ratio - 1) * sums.candidate.n / n)
    stable = min(stable, 0.98, 0.98 / ratio if ratio > 0 else 1.0)
    return max(ratio, _LEAST_ODDS) * (1 - stable) / (1 - ratio * stable)


def _draws(pairs: Sequence[Pair], against: int) -> tuple[Draw, ...]:
    """The counts of the arm whose many events reject: the candidate's for +1, stable's for -1."""
    arms = ((pair.candidate, pair.stable) if against > 0 else (pair.stable, pair.candidate) for pair in pairs)
    return tuple(
        Draw(size=mine.n, others=other.n, mine=round(mine.total), events=round(mine.total) + round(other.total))
        for mine, other in arms
    )


def e_value(trial: Trial) -> float:
    """Evidence against "the candidate is not worse"."""
    match trial.harm:
        case CountTest():
            return trial.evidence.value
        case ScoreTest(score=Score() as total):
            planned = trial.design.information / trial.sums.information if trial.sums.information else 1.0
            return score_e_value(total.value, total.variance, total.variance * planned)
