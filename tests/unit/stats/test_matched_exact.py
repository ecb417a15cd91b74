"""Paired tests at a single look, against the binomial itself, and their intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from sluicegate.flows.stats.matched import CoinTest, difference_score
from sluicegate.flows.stats.populations import tally_of
from sluicegate.flows.stats.scores import Score
from sluicegate.flows.stats.spending import Budget
from sluicegate.registry.words.tally import Tally

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


D = np.array([0.5, -1.0, 2.0, 0.25, 3.0])


def test_the_score_of_differences_has_the_moments_of_their_sum() -> None:
    found = difference_score(tally_of(D), margin=0.1)
    centred = D - D.mean()
    assert math.isclose(found.value, (D - 0.1).sum())
    assert math.isclose(found.randomisation, 5 * D.var(ddof=1))
    assert math.isclose(found.third, (centred**3).sum())
    assert difference_score(tally_of(D[:1]), margin=0.1) == Score(value=0.4)
    assert difference_score(Tally()) == Score()
    flat = Tally(n=3, total=3.0, squares=3.0 - 1e-9, cubes=3.0)
    assert difference_score(flat).randomisation == 0.0
    assert difference_score(tally_of(D[:2])).randomisation == pytest.approx(2 * D[:2].var(ddof=1))
