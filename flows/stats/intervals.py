"""Estimates and always-valid intervals of a trial.

A repeated confidence interval contains the differences that the boundary would not reject now (Jennison & Turnbull
1989). Its two ends come from the two tests that decide: harm with alpha, a margin with beta. Each lies where the
observed statistic falls short of its boundary, so the interval excludes 0 at the look that finds harm, and lies within
the margin at the look that rules the margin out, and at no look before. Later looks may widen it; what was rejected
stays rejected.

Far from 0 and from the margin, zeros and ones vary differently than where the boundary was computed. There an end is
the difference from which the estimate is as many standard deviations away as the boundary is from its null's
expectation (as in Wilson 1927 for one rate; with the correction for skewness of Cornish & Fisher 1938). It stays on the
same side of 0, or of the margin, as the test.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sluicegate.flows.stats.bets import BetTest
from sluicegate.flows.stats.cohorts import CohortTest
from sluicegate.flows.stats.confidence_sequences import rate_interval
from sluicegate.flows.stats.increment import SequentialTest, Sums
from sluicegate.flows.stats.sequential import CountTest, ScoreTest
from sluicegate.flows.stats.trial import Trial

_BETWEEN = 0.5
"""Counts are whole: the boundary lies half-way between the last count that is kept and the first that is rejected."""
_HALVINGS = 40
_FEW = 30
"""With fewer rows of a build, standard deviations are too rough for its rate; its own exact interval is used."""
_LEAST = 1e-6
"""The smallest distance, in events, of an end from the bound that its test is about."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Candidate minus stable, weighted by information over strata, in the metric's unit."""

    value: float | None
    low: float | None
    """None: not bounded yet."""
    high: float | None
    level: float | None
    """Stable's mean under the same weights; a relative margin is a share of it."""


def estimate(trial: Trial, margin: float | None = None) -> Estimate:
    """The estimate now. The end on the harmful side is that of the test of `margin` up to the look that rules it
    out."""
    sums, sign = trial.sums, trial.design.sign
    if sums.information <= 0:
        return Estimate(value=None, low=None, high=None, level=None)
    value, level = sums.difference / sums.information, sums.level / sums.information + trial.design.origin
    bound, room = _room(trial, margin)
    harm_end, margin_end = _end(trial.harm, 0.0, sums, sign), _end(room, bound, sums, -sign)
    better = None if harm_end is None else sign * min(sign * harm_end, sign * value)
    worse = None if margin_end is None else sign * max(sign * margin_end, sign * value)
    low, high = (better, worse) if trial.design.worse_is_higher else (worse, better)
    return Estimate(value=value, low=low, high=high, level=level)


def _end(test: SequentialTest | None, bound: float, sums: Sums, against: int) -> float | None:
    """The difference that a test would just not reject now. The test asks whether the true difference lies beyond
    `bound`, in the direction `against`."""
    short = None if test is None else lacking(test)
    if test is None or short is None:
        return None
    nearest = bound - against * short / sums.information
    counts = test.counts if isinstance(test, CohortTest) else test
    if not isinstance(counts, CountTest) or counts.reach is None:
        return nearest
    is_small = min(sums.stable.n, sums.candidate.n) < _FEW
    by_rates = _apart(sums, counts.budget.alpha / 2, against) if is_small else None
    far = _far(sums, bound, counts.reach - _BETWEEN, against) if by_rates is None else by_rates
    beyond, least = against * (far - bound), _LEAST / sums.information
    return bound + against * (max(beyond, least) if short <= 0 else min(beyond, -least))


@dataclass(frozen=True, kw_only=True)
class _Rates:
    """Two rates, and how the sum that compares them varies per unit of information."""

    candidate: float
    stable: float
    share: float
    """The candidate's share of the rows."""

    @property
    def variance(self) -> float:
        return (1 - self.share) * _variance(self.candidate) + self.share * _variance(self.stable)

    @property
    def variance_given_events(self) -> float:
        """The same, given the number of events of both together."""
        mine, theirs = _variance(self.candidate), _variance(self.stable)
        others = self.share * mine + (1 - self.share) * theirs
        return mine * theirs / others if others > 0 else 0.0

    @property
    def skewness(self) -> float:
        mine, theirs = (_variance(rate) * (1 - 2 * rate) for rate in (self.candidate, self.stable))
        third = (1 - self.share) ** 2 * mine - self.share**2 * theirs
        return third / self.variance**1.5 if self.variance > 0 else 0.0


def _variance(rate: float) -> float:
    return rate * (1 - rate)


def _apart(sums: Sums, alpha: float, against: int) -> float | None:
    """The smallest distance between the rates in this direction, if each lies in its own interval."""
    both = [rate_interval(round(arm.total), arm.n, alpha) for arm in (sums.stable, sums.candidate)]
    stable, candidate = both
    if stable is None or candidate is None:
        return None
    return candidate.low - stable.high if against > 0 else candidate.high - stable.low


def _far(sums: Sums, bound: float, reach: float, against: int) -> float:
    """The difference of two rates that lies as many of its standard deviations from the estimate, on the side of the
    test's null, as the boundary lies from the null's expectation; more of them if it is more skewed that way."""
    value, null, scale = sums.difference / sums.information, _rates(sums, bound), math.sqrt(sums.information)
    of_null = math.sqrt(null.variance_given_events)
    if of_null <= 0:
        return value - against * reach / sums.information
    deviations = reach / (scale * of_null)
    near, far = 0.0, 1 + against * value
    for _ in range(_HALVINGS):
        middle = (near + far) / 2
        rates = _rates(sums, value - against * middle)
        skewed = max(against * (rates.skewness - null.skewness), 0.0) / scale
        away = deviations + skewed * max(deviations**2 - 1, 0.0) / 6
        near, far = (middle, far) if middle * scale < away * math.sqrt(rates.variance) else (near, middle)
    return value - against * far


def _rates(sums: Sums, apart: float) -> _Rates:
    """The rates, if they were `apart` from each other and the rate of both together stayed the same."""
    share = sums.shares / sums.information
    both = (sums.level + share * sums.difference) / sums.information
    stable = min(max(both - share * apart, 0.0, -apart), 1.0, 1.0 - apart)
    return _Rates(candidate=stable + apart, stable=stable, share=share)


def lacking(test: SequentialTest) -> float | None:
    """How far the statistic is from rejecting, in its unit; not above 0 if it rejects now. None if it cannot reject."""
    match test:
        case CountTest():
            return None if test.reach is None else test.reach - _BETWEEN - (test.observed - test.expected)
        case BetTest():
            return test.reach
        case ScoreTest():
            return None if test.reach is None else test.reach - test.score.value
        case CohortTest():
            return lacking(test.test if test.counts is None else test.counts)


def _room(trial: Trial, margin: float | None) -> tuple[float, SequentialTest | None]:
    """The harm, as a difference, whose test gives the harmful end, and that test.

    The harm is the margin asked for, up to the look that rules it out, and the smallest margin from then on.
    """
    rungs = zip(trial.design.rungs, trial.margins, trial.ruled_out_at, strict=True)
    tests = {rung.margin: (test, at) for rung, test, at in rungs}
    if not tests:
        return 0.0, None
    is_open = margin is not None and margin in tests and tests[margin][1] in {None, trial.looks}
    bounding = margin if margin is not None and is_open else min(tests)
    level = trial.sums.level / trial.sums.information + trial.design.origin
    return trial.design.sign * bounding * abs(level), tests[bounding][0]
