"""Means of returning units may be any number: only counts have odds."""

from __future__ import annotations

import pytest

from sluicegate.flows.stats.cohorts import CohortTest
from sluicegate.flows.stats.increment import Increment, Sums, look_within_margin
from sluicegate.flows.stats.spending import Budget
from sluicegate.registry.words.tally import Tally


@pytest.mark.parametrize("mean", [-3.0, 1.03, 250.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_margin_of_a_mean_beyond_one_is_judged(mean: float, sign: int) -> None:
    test = CohortTest.begin(Budget(alpha=0.05, information=100.0), counts=False)
    arm = Tally(n=10, total=10 * mean, squares=10 * mean**2)
    after = look_within_margin(test, Increment(information=5.0), sign, 0.05, Sums(stable=arm, candidate=arm))
    assert not after.rejected
