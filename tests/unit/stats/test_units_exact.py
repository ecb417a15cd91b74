"""Units, each of them known: against what their sums say, and against the definition."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sluicegate.flows.stats.spending import Budget
from sluicegate.flows.stats.units import UnitRows, UnitTest

BUDGET = Budget(alpha=0.05, information=1000.0)
RNG = np.random.default_rng(1)
N = RNG.integers(1, 5, 40).astype(float)
X = RNG.gamma(2.0, 1.0, 40) * N
MINE = np.arange(40) % 4 == 0
STRATUM = np.arange(40) % 2


def rows(x: np.ndarray, stratum: np.ndarray = STRATUM, mine: np.ndarray = MINE) -> UnitRows:
    return UnitRows(unit=np.arange(x.size), stratum=stratum, candidate=mine, n=N[: x.size], total=x)


def wanted(x: np.ndarray) -> tuple[float, float, float, float]:
    """Score, randomisation variance, Welch's variance and third cumulant from the definition, stratum by stratum."""
    found = np.zeros(4)
    for stratum in (0, 1):
        here = stratum == STRATUM
        rest = (x - x[here].sum() / N[here].sum() * N)[here] * math.sqrt(here.sum() / (here.sum() - 1))
        share = (N * MINE)[here].sum() / N[here].sum()
        influence = np.where(MINE[here], 1 - share, -share) * rest
        found += (
            influence.sum(), share * (1 - share) * (rest**2).sum(), (influence**2).sum(),
            share * (1 - share) * (1 - 2 * share) * (rest**3).sum(),
        )  # fmt: skip
    return tuple(found)


@pytest.mark.parametrize("factor", [1.0, 1.3])
@pytest.mark.parametrize("against", [1, -1])
def test_the_score_is_that_of_the_linearised_units(against: int, factor: float) -> None:
    found = UnitTest.begin(BUDGET).look(rows(X), 10.0, against=against, factor=factor).score()
    value, randomisation, welch, third = wanted(np.where(MINE, X, X * factor) * against)
    assert math.isclose(found.value, value)
    assert math.isclose(found.randomisation, randomisation)
    assert math.isclose(found.welch, welch)
    assert math.isclose(found.third, third)


def test_the_test_sees_the_score_of_everything_so_far() -> None:
    once = UnitTest.begin(BUDGET).look(rows(X), 10.0, against=1)
    twice = once.look(rows(X + 1), 20.0, against=1)
    assert math.isclose(twice.test.score.value, twice.score().value)
    assert math.isclose(twice.test.score.third, twice.score().third)
    assert twice.test.information == 20.0
    assert (twice.rejected, twice.reach, twice.spent) == (twice.test.rejected, twice.test.reach, twice.test.spent)


def test_strata_with_an_empty_arm_or_a_single_unit_say_nothing() -> None:
    alone = UnitTest.begin(BUDGET).look(rows(X, mine=np.ones(40, dtype=bool)), 10.0, against=1).score()
    assert (alone.value, alone.randomisation, alone.welch) == (0.0, 0.0, 0.0)
    stable = UnitTest.begin(BUDGET).look(rows(X, mine=np.zeros(40, dtype=bool)), 10.0, against=1).score()
    assert (stable.value, stable.welch) == (0.0, 0.0)
    single = UnitTest.begin(BUDGET).look(rows(X[:1], np.zeros(1, dtype=int), MINE[:1]), 10.0, against=1).score()
    assert (single.value, single.welch) == (0.0, 0.0)


def test_a_row_alone_in_its_stratum_says_nothing_nor_do_values_without_rows() -> None:
    for n in (1.0, 0.0):
        lone = UnitRows(
            unit=np.array([0]), stratum=np.array([0]), candidate=np.array([True]), n=np.array([n]),
            total=np.array([2.0]),
        )  # fmt: skip
        with np.errstate(divide="raise", invalid="raise"):
            found = UnitTest.begin(BUDGET).look(lone, 1.0, against=1).score()
        assert (found.value, found.randomisation, found.welch, found.third) == (0.0, 0.0, 0.0, 0.0)


def test_two_units_of_one_row_each_weigh_as_a_pair() -> None:
    """Half their difference: the score of two values with labels drawn by lot, and Bessel's correction of its root."""
    pair = UnitRows(
        unit=np.arange(2), stratum=np.zeros(2, dtype=int), candidate=np.array([True, False]), n=np.ones(2),
        total=np.array([5.0, 2.0]),
    )  # fmt: skip
    found = UnitTest.begin(BUDGET).look(pair, 1.0, against=1).score()
    assert found.value == pytest.approx(1.5 * math.sqrt(2))
    assert found.randomisation == pytest.approx(0.25 * 2 * np.var([5.0, 2.0], ddof=1))
    assert found.third == 0.0


def test_units_may_come_in_any_order_and_later() -> None:
    late = UnitRows(
        unit=np.array([7, 2]), stratum=np.zeros(2, dtype=int), candidate=np.array([True, False]), n=np.ones(2),
        total=np.array([3.0, 1.0]),
    )  # fmt: skip
    test = UnitTest.begin(BUDGET).look(late, 1.0, against=1)
    assert test.influence.size == 8
    assert test.influence.tolist() == pytest.approx([0, 0, math.sqrt(0.5), 0, 0, 0, 0, math.sqrt(0.5)])
    empty = UnitRows(
        unit=np.zeros(0, dtype=int), stratum=np.zeros(0, dtype=int), candidate=np.zeros(0, dtype=bool), n=np.zeros(0),
        total=np.zeros(0),
    )  # fmt: skip
    assert (
        UnitTest.begin(BUDGET).influence.size == UnitTest.begin(BUDGET).look(empty, 1.0, against=1).influence.size == 0
    )
    again = test.look(empty, 2.0, against=1)
    assert again.influence.tolist() == test.influence.tolist()
