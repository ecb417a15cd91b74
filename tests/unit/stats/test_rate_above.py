"""A limit that is broken: exact, sticky, and bounded in error however often it is looked at."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.flows.stats.rate_above import RateAboveTest


@given(st.floats(0.001, 0.9), st.floats(0.0, 1.0), st.integers(0, 2000), st.integers(0, 2000))
def test_the_capital_has_a_mean_of_at_most_one_up_to_the_bound(bound: float, of: float, zeros: int, ones: int) -> None:
    """One more row multiplies each bet by a factor of mean 1 at the bound, and of less below it."""
    rate = bound * of
    now = RateAboveTest(bound=bound, alpha=0.05, n=zeros + ones, ones=ones).log_capital
    if_zero = RateAboveTest(bound=bound, alpha=0.05, n=zeros + ones + 1, ones=ones).log_capital
    if_one = RateAboveTest(bound=bound, alpha=0.05, n=zeros + ones + 1, ones=ones + 1).log_capital
    assert (1 - rate) * math.exp(if_zero - now) + rate * math.exp(if_one - now) <= 1 + 1e-9


@pytest.mark.parametrize("bound", [0.05, 0.3])
def test_the_chance_to_find_a_rate_at_the_bound_above_it_is_at_most_alpha(bound: float) -> None:
    """All paths of 60 rows looked at one by one, by the recursion over counts that were not yet shown."""
    alive, found = {0: 1.0}, 0.0
    for n in range(1, 61):
        after: dict[int, float] = {}
        for ones, chance in alive.items():
            for more, share in ((0, 1 - bound), (1, bound)):
                after[ones + more] = after.get(ones + more, 0.0) + chance * share
        shown = [x for x in after if RateAboveTest(bound=bound, alpha=0.05).look(n, x).shown_at is not None]
        found += sum(after.pop(ones) for ones in shown)
        alive = after
    assert 0 < found <= 0.05


@pytest.mark.parametrize(("bound", "rate", "rows"), [(0.01, 0.02, 4000), (0.01, 0.1, 200), (0.02, 0.03, 6000)])
def test_a_rate_above_the_bound_is_found(bound: float, rate: float, rows: int) -> None:
    assert RateAboveTest(bound=bound, alpha=0.01).look(rows, round(rate * rows)).shown_at == 1


def test_what_was_shown_stays_shown_and_nonsense_shows_nothing() -> None:
    shown = RateAboveTest(bound=0.05, alpha=0.05).look(100, 90)
    assert shown.look(10_000, 90).shown_at == 1
    assert RateAboveTest(bound=0.05, alpha=0.05).look(0, 0).shown_at is None
    assert RateAboveTest(bound=0.05, alpha=0.05).look(100, 101).shown_at is None
    assert RateAboveTest(bound=0.05, alpha=0.05).look(500, 25).shown_at is None
