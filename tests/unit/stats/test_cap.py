"""The cap: exact, sticky, and bounded in error however often it is looked at."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.stats.cap import CapTest


@pytest.mark.parametrize(("cap", "rows"), [(0.01, 400), (0.05, 80)])
def test_without_a_single_one_it_takes_a_few_hundred_rows(cap: float, rows: int) -> None:
    test = CapTest(cap=cap, beta=0.05)
    n = next(n for n in range(1, 10_000) if test.look(n, 0).shown_at is not None)
    assert math.log(1 / 0.05) / cap < n < rows


@given(st.floats(0.001, 0.5), st.integers(0, 2000), st.integers(0, 2000))
def test_the_capital_has_mean_one_at_the_cap(cap: float, zeros: int, ones: int) -> None:
    """One more row multiplies each bet by a factor of mean 1 when the rate is exactly the cap."""
    now = CapTest(cap=cap, beta=0.05, n=zeros + ones, ones=ones).log_capital
    if_zero = CapTest(cap=cap, beta=0.05, n=zeros + ones + 1, ones=ones).log_capital
    if_one = CapTest(cap=cap, beta=0.05, n=zeros + ones + 1, ones=ones + 1).log_capital
    mean = (1 - cap) * math.exp(if_zero - now) + cap * math.exp(if_one - now)
    assert mean == pytest.approx(1.0, rel=1e-9)


def test_what_was_shown_stays_shown_and_nonsense_shows_nothing() -> None:
    shown = CapTest(cap=0.05, beta=0.05).look(200, 0)
    assert shown.look(300, 90).shown_at == 1
    assert CapTest(cap=0.05, beta=0.05).look(200, -1).shown_at is None
    assert CapTest(cap=0.05, beta=0.05).look(0, 0).shown_at is None
