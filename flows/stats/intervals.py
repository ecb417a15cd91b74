"""Estimates and always-valid intervals of a trial.

A repeated confidence interval holds the differences that the boundary would not reject now (Jennison & Turnbull 1989).
Its two ends come from the two tests that decide: harm with alpha, a margin with beta. So the interval excludes 0 when
harm is found and lies below the margin when that is ruled out.
"""

from __future__ import annotations

from dataclasses import dataclass

from flows.stats.trial import Trial


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
    """The estimate now. The end on the harmful side is that of the test of `margin`, where it is still open."""
    sums = trial.sums
    if sums.information <= 0:
        return Estimate(value=None, low=None, high=None, level=None)
    value = sums.difference / sums.information
    better, worse = trial.harm.reach, _reach(trial, margin)
    if not trial.design.worse_is_higher:
        better, worse = worse, better
    return Estimate(
        value=value,
        low=None if better is None else value - better / sums.information,
        high=None if worse is None else value + worse / sums.information,
        level=sums.level / sums.information,
    )


def _reach(trial: Trial, margin: float | None) -> float | None:
    """Of the open test of this margin, or else of the least margin."""
    tests = {rung.margin: test for rung, test in zip(trial.design.rungs, trial.margins, strict=True)}
    if not tests:
        return None
    test = tests.get(margin) if margin is not None else None
    return test.reach if test is not None and not test.rejected else tests[min(tests)].reach
