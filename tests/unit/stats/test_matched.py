from __future__ import annotations

import math

import numpy as np

from sluicegate.flows.stats.adjustment import fit
from sluicegate.flows.stats.matched import CoinTest
from sluicegate.flows.stats.spending import Budget


def test_a_coin_that_favours_the_candidate_too_often_is_harm() -> None:
    test = CoinTest(budget=Budget(alpha=0.05, information=1000)).look(25, 30, 500)
    assert test.rejected
    assert (test.heads, test.throws) == (25, 30)


def test_harm_has_a_direction() -> None:
    start = CoinTest(budget=Budget(alpha=0.05, information=1000))
    assert start.look(25, 30, 500).rejected
    assert not start.look(5, 30, 500).rejected


def test_a_fair_coin_is_no_harm_and_pairs_that_agree_change_nothing() -> None:
    start = CoinTest(budget=Budget(alpha=0.05, information=1000))
    assert not start.look(15, 30, 500).rejected
    assert start.look(0, 0, 500).throws == 0


def test_disagreement_is_tested_against_a_cap() -> None:
    cap = CoinTest(budget=Budget(alpha=0.05, information=1000), share=0.02)
    assert not cap.look(10, 500, 500.0).rejected
    assert cap.look(40, 500, 500.0).rejected


def test_adjustment_removes_what_the_covariate_explains_and_keeps_the_mean() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(3, 1, 5000)
    y = 2 * x + rng.normal(0, 1, 5000)
    adjustment = fit(y, x)
    adjusted = adjustment.apply(y, x)
    assert math.isclose(adjusted.mean(), y.mean())
    assert math.isclose(adjusted.var() / y.var(), 1 - adjustment.explained, rel_tol=1e-3)
    assert math.isclose(adjustment.explained, 0.8, abs_tol=0.02)


def test_a_missing_or_constant_covariate_changes_nothing() -> None:
    y = np.array([1.0, 2.0, 4.0])
    assert fit(y, np.ones(3)).slope == 0
    assert fit(y, np.full(3, np.nan)).slope == 0
    known = fit(np.arange(9.0), np.arange(9.0))
    assert known.apply(y, np.full(3, np.nan)).tolist() == y.tolist()
