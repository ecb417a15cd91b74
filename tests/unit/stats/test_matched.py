from __future__ import annotations

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
