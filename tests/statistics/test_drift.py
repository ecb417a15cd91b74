"""Drift of predictions: tolerated differences stop nothing however often one looks; larger ones are found."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.random import Generator
from scipy.stats import beta

from sluicegate.flows.stats.cohorts import Change, Cohort
from sluicegate.flows.stats.drift import DriftTest
from sluicegate.flows.stats.increment import Increment
from sluicegate.flows.stats.pair import Pair
from sluicegate.registry.words.metric import LEVELS
from sluicegate.registry.words.tally import Tally, UnitSums

ALPHA = 0.05
RUNS = 60
LOOKS = 12
ROWS = 400
"""New rows at each look."""
WEIGHT = 0.2


def begin(*, by_cohort: bool = False) -> DriftTest:
    planned = LOOKS * ROWS * WEIGHT * (1 - WEIGHT)
    return DriftTest.begin(levels=LEVELS, tolerance=0.1, alpha=ALPHA, information=planned, by_cohort=by_cohort)


def moments(scores: np.ndarray, level: float) -> Tally:
    above = float((scores > level).sum())
    return Tally(n=scores.size, total=above, squares=above, cubes=above)


def rollout(rng: Generator, power: float) -> DriftTest:
    """Stable's predictions are uniform, so its quantiles are their levels; the candidate's are u ** power."""
    test, information = begin(), 0.0
    for _ in range(LOOKS):
        size = int(rng.binomial(ROWS, WEIGHT))
        stable, candidate = rng.random(ROWS - size), rng.random(size) ** power
        information += size * (ROWS - size) / ROWS
        test = test.look({
            level: Increment(
                pairs=[Pair(stable=moments(stable, level), candidate=moments(candidate, level))],
                information=information,
            )
            for level in LEVELS
        })  # fmt: skip
    return test


def at_least(hits: int, runs: int) -> float:
    """99 % lower bound of a share."""
    return float(beta.ppf(0.01, hits, runs - hits + 1)) if hits else 0.0


@pytest.mark.parametrize("power", [1.0, 0.82, 1.25])
def test_what_is_tolerated_stops_nothing(power: float) -> None:
    """At power 0.82 and 1.25 the largest of the five shares has moved by almost the tolerance."""
    moved = max(abs((1 - level ** (1 / power)) - (1 - level)) for level in LEVELS)
    assert moved <= 0.1
    hits = sum(rollout(np.random.default_rng((1, i)), power).found_at is not None for i in range(RUNS))
    assert at_least(hits, RUNS) <= ALPHA


@pytest.mark.parametrize("power", [0.5, 2.0])
def test_a_shift_is_found(power: float) -> None:
    found = [rollout(np.random.default_rng((2, i)), power).found_at for i in range(20)]
    assert all(found)
    assert sorted(at or LOOKS for at in found)[10] <= LOOKS // 2


def test_a_constant_prediction_is_found() -> None:
    """The mean stays where it was: only the distribution tells."""
    test, information, rng = begin(), 0.0, np.random.default_rng(3)
    for _ in range(LOOKS):
        stable, candidate = rng.random(320), np.full(80, 0.5001)
        information += 64
        pairs = {
            level: [Pair(stable=moments(stable, level), candidate=moments(candidate, level))] for level in LEVELS
        }  # fmt: skip
        test = test.look({level: Increment(pairs=pairs[level], information=information) for level in LEVELS})
    assert test.found_at is not None
    assert test.found_at <= 4
    assert {side.level for side in test.drifted} >= {0.25, 0.75}


def cohort(scores: np.ndarray, level: float) -> UnitSums:
    """One row of `scores` for each unit."""
    n, x = float(scores.shape[1]), (scores > level).sum(axis=1).astype(float)
    return UnitSums(
        size=x.size, x=x.sum(), n=n * x.size, xx=(x**2).sum(), xn=n * x.sum(), nn=n * n * x.size, xxx=(x**3).sum(),
        xxn=n * (x**2).sum(), xnn=n * n * x.sum(), nnn=n**3 * x.size,
    )  # fmt: skip


def of_units(rng: Generator, shift: float) -> DriftTest:
    """Five predictions of each unit, all nearly the same: counted one by one they would look like proof."""
    test, information = begin(by_cohort=True), 0.0
    for _ in range(LOOKS):
        own = [rng.random((size, 1)) for size in (64, 16)]
        stable, candidate = (np.clip(each + rng.normal(0, 0.01, (each.shape[0], 5)), 0, 1) for each in own)
        information += 80 * 5 * WEIGHT * (1 - WEIGHT)
        changes = {
            level: [Change(now=Cohort(stable=cohort(stable, level), candidate=cohort(candidate + shift, level)))]
            for level in LEVELS
        }
        test = test.look({level: Increment(information=information, changes=changes[level]) for level in LEVELS})
    return test


@pytest.mark.parametrize("shift", [0.0, 0.09])
def test_units_whose_predictions_are_alike_are_no_more_than_one_each(shift: float) -> None:
    hits = sum(of_units(np.random.default_rng((4, i)), shift).found_at is not None for i in range(25))
    assert at_least(hits, 25) <= ALPHA


def test_a_shift_is_found_by_unit() -> None:
    assert all(of_units(np.random.default_rng((5, i)), 0.35).found_at is not None for i in range(10))


def test_alpha_is_shared_out_and_never_exceeded() -> None:
    test = rollout(np.random.default_rng(6), 1.0)
    assert test.spent <= ALPHA
    assert [(side.level, math.copysign(1, side.bound - side.share)) for side in test.sides] == [
        (0.1, -1.0), (0.25, 1.0), (0.25, -1.0), (0.5, 1.0), (0.5, -1.0), (0.75, 1.0), (0.75, -1.0), (0.9, 1.0)
    ]  # fmt: skip
    assert all(side.odds > 1 for side in test.sides)
