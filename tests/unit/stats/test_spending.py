from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.flows.stats.spending import Budget, around_need, early_and_late, evenly, obrien_fleming, pocock

SHAPES = pytest.mark.parametrize("shape", [early_and_late, evenly, obrien_fleming, pocock])


@SHAPES
def test_everything_is_spent_at_the_planned_end_and_nothing_before_the_start(shape) -> None:
    assert math.isclose(shape(1.0, 0.05), 0.05)
    assert shape(0.0, 0.05) == 0


@given(st.floats(0, 50), st.floats(0, 50), st.floats(0, 0.9))
def test_spending_grows_with_information_and_never_exceeds_alpha(a: float, b: float, reserve: float) -> None:
    budget = Budget(alpha=0.05, information=3.0, reserve=reserve)
    low, high = budget.spent(min(a, b)), budget.spent(max(a, b))
    assert 0 <= low <= high <= 0.05 * (1 + 1e-12)


def test_the_reserve_is_released_by_halves_beyond_the_plan() -> None:
    budget = Budget(alpha=0.04, information=10.0, reserve=0.1)
    assert math.isclose(budget.spent(10), 0.036)
    assert math.isclose(budget.spent(20), 0.038)
    assert math.isclose(budget.spent(40), 0.039)


def test_four_fifths_are_spent_evenly_per_e_fold() -> None:
    steps = [early_and_late(t, 1.0) - 0.2 * t**2 for t in (0.01, 0.1, 1.0)]
    assert math.isclose(steps[1] - steps[0], 0.8 * math.log(101 / 11) / math.log(1001))
    assert math.isclose(steps[2], 0.8)


@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_obrien_fleming_spends_late_and_pocock_early(t: float) -> None:
    assert obrien_fleming(t, 0.05) < 0.05 * t < pocock(t, 0.05)


def test_less_than_nothing_is_nothing() -> None:
    budget = Budget(alpha=0.05, information=2.0)
    assert budget.time(-3.0) == 0
    assert budget.time(1.0) == 0.5
    assert budget.spent(-3.0) == 0


def test_margins_are_spent_on_evenly_per_e_fold_from_three_per_cent_of_the_plan_on() -> None:
    assert math.isclose(evenly(0.03, 0.05), 0.05 * math.log(2) / math.log(1 + 1 / 0.03))
    assert math.isclose(evenly(0.27, 0.05) - evenly(0.12, 0.05), 0.05 * math.log(10 / 5) / math.log(1 + 1 / 0.03))


def test_margins_of_events_are_spent_on_around_the_divergence_at_which_an_equal_candidate_passes() -> None:
    budget = Budget.of_events(0.04)
    assert budget.spent(0.0) == 0
    assert math.isclose(budget.spent(1.75), 0.02)
    assert math.isclose(budget.spent(1.75 * math.exp(0.6)), 0.04 * 0.841345, rel_tol=1e-5)
    assert 0.03999 < budget.spent(20.0) == budget.spent(1e6) <= 0.04
    assert around_need(1.0, 0.04) == budget.spent(20.0)
