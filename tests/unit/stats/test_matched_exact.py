"""Paired tests at a single look, against the binomial itself."""

from __future__ import annotations

import pytest
from scipy.stats import binom

from sluicegate.flows.stats.matched import CoinTest
from sluicegate.flows.stats.spending import Budget

BUDGET = Budget(alpha=0.05, information=100.0)


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_a_coin_is_rejected_from_the_count_whose_tail_fits(share: float) -> None:
    room = BUDGET.spent(60.0)
    least = next(k for k in range(60) if binom.sf(k - 1, 60, share) <= room)
    coin = CoinTest(budget=BUDGET, share=share)
    assert coin.look(least, 60, 60.0).rejected
    assert not coin.look(least - 1, 60, 60.0).rejected
    assert coin.look(least, 60, 60.0).lattice.spent == pytest.approx(binom.sf(least - 1, 60, share))


def test_throws_add_and_a_rejection_stays() -> None:
    test = CoinTest(budget=BUDGET).look(30, 30, 30.0)
    assert test.rejected
    more = test.look(0, 30, 60.0)
    assert (more.heads, more.throws, more.information, more.rejected) == (30, 60, 60.0, True)


def test_without_more_information_nothing_is_rejected() -> None:
    test = CoinTest(budget=BUDGET).look(5, 10, 30.0)
    again = test.look(40, 40, 30.0)
    assert not again.rejected
    assert (again.heads, again.throws, again.lattice.spent) == (45, 50, test.lattice.spent)
    assert again.look(0, 0, 31.0).rejected
    assert not CoinTest(budget=BUDGET).look(0, 0, 30.0).rejected


def test_what_lacks_for_a_rejection_is_counted_in_heads() -> None:
    room = BUDGET.spent(60.0)
    least = next(k for k in range(60) if binom.sf(k - 1, 60, 0.5) <= room)
    assert CoinTest(budget=BUDGET).look(20, 60, 60.0).lacking == least - 0.5 - 20
    assert CoinTest(budget=BUDGET).look(least, 60, 60.0).lacking == -0.5
