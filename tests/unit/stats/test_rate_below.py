"""The cap: exact, sticky, and bounded in error however often it is looked at."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.flows.stats.rate_below import RateBelowTest


@pytest.mark.parametrize(("cap", "rows"), [(0.01, 400), (0.05, 80)])
def test_without_a_single_one_it_takes_a_few_hundred_rows(cap: float, rows: int) -> None:
    test = RateBelowTest(bound=cap, beta=0.05)
    n = next(n for n in range(1, 10_000) if test.look(n, 0).shown_at is not None)
    assert math.log(1 / 0.05) / cap < n < rows


@given(st.floats(0.001, 0.5), st.integers(0, 2000), st.integers(0, 2000))
def test_the_capital_has_mean_one_at_the_cap(cap: float, zeros: int, ones: int) -> None:
    """One more row multiplies each bet by a factor of mean 1 when the rate is exactly the cap."""
    now = RateBelowTest(bound=cap, beta=0.05, n=zeros + ones, ones=ones).log_capital
    if_zero = RateBelowTest(bound=cap, beta=0.05, n=zeros + ones + 1, ones=ones).log_capital
    if_one = RateBelowTest(bound=cap, beta=0.05, n=zeros + ones + 1, ones=ones + 1).log_capital
    mean = (1 - cap) * math.exp(if_zero - now) + cap * math.exp(if_one - now)
    assert mean == pytest.approx(1.0, rel=1e-9)


def test_what_was_shown_stays_shown_and_nonsense_shows_nothing() -> None:
    shown = RateBelowTest(bound=0.05, beta=0.05).look(200, 0)
    assert shown.look(300, 90).shown_at == 1
    assert RateBelowTest(bound=0.05, beta=0.05).look(200, -1).shown_at is None
    assert RateBelowTest(bound=0.05, beta=0.05).look(0, 0).shown_at is None


STAKES = {0.98: 0.6, 0.8: 0.1, 0.5: 0.1, 0.25: 0.1, 0.1: 0.1}
"""Each stake and its weight."""


@pytest.mark.parametrize("cap", [0.01, 0.3, 0.7])
@pytest.mark.parametrize(("n", "ones"), [(0, 0), (7, 0), (1, 1), (9, 4), (50, 1)])
def test_the_capital_is_the_weighted_sum_of_products_over_rows(cap: float, n: int, ones: int) -> None:
    wanted = sum(
        weight * math.prod([1 + stake * cap / (1 - cap)] * (n - ones) + [1 - stake] * ones)
        for stake, weight in STAKES.items()
    )
    assert math.exp(RateBelowTest(bound=cap, beta=0.05, n=n, ones=ones).log_capital) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("cap", [0.01, 0.5])
def test_ones_never_speak_for_a_rate_below_the_cap(cap: float) -> None:
    capitals = [RateBelowTest(bound=cap, beta=0.05, n=100, ones=ones).log_capital for ones in range(101)]
    assert capitals == sorted(capitals, reverse=True)
    assert RateBelowTest(bound=cap, beta=0.05).look(500, 500).shown_at is None


def test_the_chance_to_show_a_rate_at_the_cap_is_at_most_beta() -> None:
    """All paths of 40 rows looked at one by one, by the recursion over counts that were not yet shown."""
    cap, beta = 0.4, 0.2
    alive, shown = {0: 1.0}, 0.0
    for n in range(1, 41):
        grown: dict[int, float] = {}
        for ones, chance in alive.items():
            for more, share in ((0, 1 - cap), (1, cap)):
                if RateBelowTest(bound=cap, beta=beta).look(n, ones + more).shown_at is not None:
                    shown += chance * share
                else:
                    grown[ones + more] = grown.get(ones + more, 0.0) + chance * share
        alive = grown
    assert 0.05 < shown <= beta


def test_looks_are_counted_and_the_first_that_shows_is_kept() -> None:
    test = RateBelowTest(bound=0.05, beta=0.05).look(50, 0).look(200, 0).look(400, 0)
    assert (test.n, test.ones, test.looks, test.shown_at) == (400, 0, 3, 2)
    assert RateBelowTest(bound=0.05, beta=0.05).look(200, 201).shown_at is None
