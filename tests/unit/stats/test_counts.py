from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import nchypergeom_fisher

from sluicegate.flows.stats.counts import Draw, divergence, expected, hypergeometric, spread
from sluicegate.flows.stats.lattice import Lattice
from sluicegate.flows.stats.sequential import CountTest
from sluicegate.flows.stats.spending import Budget


@given(st.integers(1, 300), st.integers(1, 300), st.data(), st.sampled_from([0.2, 0.8, 1.0, 1.25, 4.0]))
@settings(max_examples=150, deadline=None)
def test_probabilities_are_fishers(size: int, others: int, data: st.DataObject, odds: float) -> None:
    events = data.draw(st.integers(1, size + others - 1))
    low, masses = hypergeometric(size, others, events, odds)
    law = nchypergeom_fisher(size + others, size, events, odds)
    assert math.isclose(masses.sum(), 1.0)
    assert np.allclose(masses, law.pmf(np.arange(low, low + masses.size)), atol=1e-9)


def test_large_draws_keep_both_tails() -> None:
    low, masses = hypergeometric(500_000, 500_000, 100_000)
    sd = math.sqrt(100_000 * 0.25 * 0.9)
    assert low < 50_000 - 8 * sd
    assert low + masses.size > 50_000 + 8 * sd


@pytest.mark.parametrize(
    "draw", [Draw(size=0, others=9, events=3, mine=0), Draw(size=9, others=0, events=3, mine=3),
             Draw(size=5, others=9, events=0, mine=0), Draw(size=5, others=9, events=14, mine=5)],
)  # fmt: skip
def test_a_draw_without_information_shifts_the_observed_and_the_lattice_alike(draw: Draw) -> None:
    lattice = spread(Lattice(), [draw])
    assert lattice.masses.tolist() == [1.0]
    assert lattice.origin == draw.mine == expected([draw])


def test_a_rejection_has_exactly_the_probability_that_was_spent() -> None:
    """All label assignments of two small strata, enumerated: no simulation, no approximation."""
    strata = [(4, 3, 3), (3, 5, 4)]
    budget = Budget(alpha=0.2, information=2.0)
    rejected = total = 0
    for counts in itertools.product(*(range(max(0, e - o), min(s, e) + 1) for s, o, e in strata)):
        ways = math.prod(math.comb(s, x) * math.comb(o, e - x) for (s, o, e), x in zip(strata, counts, strict=True))
        test = CountTest(budget=budget)
        for look, ((s, o, e), x) in enumerate(zip(strata, counts, strict=True), start=1):
            test = test.look([Draw(size=s, others=o, events=e, mine=x)], float(look))
        total += ways
        rejected += ways * test.rejected
    assert 0 < rejected / total <= 0.2
    assert math.isclose(rejected / total, test.spent)


def test_order_of_draws_does_not_matter() -> None:
    draws = [Draw(size=50, others=70, events=9, mine=6), Draw(size=40, others=10, events=12, mine=10)]
    a, b = (CountTest(budget=Budget(alpha=0.05, information=10)).look(order, 5.0) for order in (draws, draws[::-1]))
    assert (a.reach, a.spent, a.observed) == (b.reach, b.spent, b.observed)


def test_without_more_information_nothing_is_spent() -> None:
    test = CountTest(budget=Budget(alpha=0.05, information=10)).look([Draw(size=9, others=9, events=6, mine=3)], 5.0)
    again = test.look([Draw(size=9, others=9, events=9, mine=9)], 5.0)
    assert not again.rejected
    assert again.spent == test.spent
    assert again.observed == 12


@given(st.integers(0, 30), st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_more_events_never_undo_a_rejection(a: int, b: int) -> None:
    low, high = sorted((a, b))
    reject = [
        CountTest(budget=Budget(alpha=0.05, information=100))
        .look([Draw(size=100, others=100, events=30, mine=x)], 50.0)
        .rejected
        for x in (low, high)
    ]
    assert reject[0] <= reject[1]


@pytest.mark.parametrize("odds", [0.25, 0.8, 1.25, 4.0])
@pytest.mark.parametrize(("size", "others", "events"), [(50, 4950, 100), (500, 500, 40), (60, 60, 60)])
def test_divergence_is_the_log_likelihood_ratio_that_an_equal_arm_is_expected_to_yield(
    size: int, others: int, events: int, odds: float
) -> None:
    equal, null = (nchypergeom_fisher(size + others, size, events, each) for each in (1.0, odds))
    k = np.arange(max(0, events - others), min(size, events) + 1)
    wanted = float(np.sum(equal.pmf(k) * (equal.logpmf(k) - null.logpmf(k))))
    assert math.isclose(
        divergence([Draw(size=size, others=others, events=events, mine=0, odds=odds)]), wanted, rel_tol=0.1
    )


def test_divergence_does_not_depend_on_where_the_events_fell_and_adds_up() -> None:
    draws = [Draw(size=30, others=70, events=9, mine=mine, odds=2.0) for mine in (0, 3, 9)]
    assert len({divergence([draw]) for draw in draws}) == 1
    assert math.isclose(divergence(draws), 3 * divergence(draws[:1]))
    assert divergence([Draw(size=30, others=70, events=9, mine=9)]) == 0, "the null is equality"
    assert divergence([Draw(size=0, others=70, events=9, mine=0, odds=2.0)]) == 0, "nothing to compare"
