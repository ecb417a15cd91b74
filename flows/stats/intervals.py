"""Estimates and always-valid intervals of a trial.

A repeated confidence interval holds the differences that the boundary would not reject now (Jennison & Turnbull 1989).
Its two ends come from the two tests that decide: harm with alpha, a margin with beta. Each lies where the observed
statistic falls short of its boundary, so the interval excludes 0 at the look that finds harm, and lies within the
margin at the look that rules it out, and at no look before. Later looks may widen it; what was rejected stays so.
"""

from __future__ import annotations

from dataclasses import dataclass

from sluicegate.flows.stats.bets import BetTest
from sluicegate.flows.stats.cohorts import CohortTest
from sluicegate.flows.stats.increment import SequentialTest
from sluicegate.flows.stats.sequential import CountTest, ScoreTest
from sluicegate.flows.stats.trial import Trial

_BETWEEN = 0.5
"""Counts are whole: the boundary lies half-way between the last count that is kept and the first that is rejected."""


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
    """The estimate now. The end on the harmful side is that of the test of `margin`, where it is still asked about."""
    sums, sign = trial.sums, trial.design.sign
    if sums.information <= 0:
        return Estimate(value=None, low=None, high=None, level=None)
    value, level = sums.difference / sums.information, sums.level / sums.information + trial.design.origin
    harm, (bound, room) = lacking(trial.harm), _room(trial, margin)
    better = None if harm is None else sign * min(-harm / sums.information, sign * value)
    worse = None if room is None else sign * max(bound * level + room / sums.information, sign * value)
    low, high = (better, worse) if trial.design.worse_is_higher else (worse, better)
    return Estimate(value=value, low=low, high=high, level=level)


def lacking(test: SequentialTest) -> float | None:
    """How far the statistic is from rejecting, in its unit; not above 0 when it rejects now. None when it could not."""
    match test:
        case CountTest():
            return None if test.reach is None else test.reach - _BETWEEN - (test.observed - test.expected)
        case BetTest():
            return test.reach
        case ScoreTest():
            return None if test.reach is None else test.reach - test.score.value
        case CohortTest():
            return lacking(test.test if test.counts is None else test.counts)


def _room(trial: Trial, margin: float | None) -> tuple[float, float | None]:
    """The margin that gives the harmful end, and how far its test is from ruling it out.

    It is the margin asked for up to the look that rules it out, and the least one from then on.
    """
    rungs = zip(trial.design.rungs, trial.margins, trial.ruled_out_at, strict=True)
    tests = {rung.margin: (test, at) for rung, test, at in rungs}
    if not tests:
        return 0.0, None
    is_open = margin is not None and margin in tests and tests[margin][1] in {None, trial.looks}
    bounding = margin if margin is not None and is_open else min(tests)
    return bounding, lacking(tests[bounding][0])
