"""The fit of a covariate, against least squares by hand and by numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sluicegate.flows.stats.adjustment import Adjustment, fit

X = np.array([1.0, 2.0, 4.0, 8.0, 5.5])
Y = np.array([3.0, 2.5, 7.0, 11.0, 10.0])


def test_the_slope_is_that_of_least_squares_and_the_centre_is_the_mean() -> None:
    found = fit(Y, X)
    assert math.isclose(found.slope, np.polyfit(X, Y, 1)[0])
    assert math.isclose(found.centre, 4.1)
    assert math.isclose(found.explained, np.corrcoef(X, Y)[0, 1] ** 2)
    assert found.apply(Y, X) == pytest.approx(Y - found.slope * (X - 4.1))


def test_three_rows_are_enough_and_two_are_not() -> None:
    found = fit(np.array([0.0, 1.0, 5.0]), np.array([1.0, 2.0, 3.0]))
    assert (found.slope, found.centre) == (pytest.approx(2.5), pytest.approx(2.0))
    assert fit(np.array([0.0, 5.0]), np.array([1.0, 3.0])) == Adjustment()


def test_zeros_and_ones_may_explain_and_be_explained() -> None:
    ones = np.array([0.0, 1.0, 1.0, 0.0])
    assert fit(ones, ones) == Adjustment(slope=1.0, centre=0.5, explained=pytest.approx(1.0))


@pytest.mark.parametrize(("y", "x"), [(np.full(4, 2.0), np.arange(4.0)), (np.arange(4.0), np.full(4, 2.0))])
def test_what_is_constant_explains_nothing_and_is_not_explained(y: np.ndarray, x: np.ndarray) -> None:
    assert fit(y, x) == Adjustment(slope=0.0, centre=0.0, explained=0.0)


def test_rows_with_a_missing_value_or_covariate_are_left_out_of_the_fit_and_as_they_are() -> None:
    x, y = np.append(X, [np.nan, 3.0, np.inf]), np.append(Y, [1.0, np.nan, 2.0])
    assert fit(y, x) == fit(Y, X)
    assert fit(Y, X).apply(y, x)[[5, 7]].tolist() == [1.0, 2.0]
