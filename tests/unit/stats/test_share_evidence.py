"""The evidence on shares, against the beta-binomial law of scipy."""

from __future__ import annotations

import math

import pytest
from scipy.stats import betabinom, binom

from sluicegate.flows.stats.share_evidence import share_p_value

N = 600


def ratio(share: float, candidate: int, stable: int) -> float:
    """How much likelier the count is when the share itself is drawn around the one asked for."""
    n = candidate + stable
    return float(betabinom.pmf(candidate, n, 1000 * share, 1000 * (1 - share)) / binom.pmf(candidate, n, share))


@pytest.mark.parametrize(("share", "candidate"), [(0.1, 100), (0.1, 20), (0.5, 371), (0.25, 220), (0.9, 480)])
def test_it_is_the_inverse_of_the_mixture_likelihood_ratio(share: float, candidate: int) -> None:
    wanted = 1 / ratio(share, candidate, N - candidate)
    assert wanted < 1
    assert math.isclose(share_p_value([(share, candidate, N - candidate)]), wanted, rel_tol=1e-8)


def test_stretches_multiply() -> None:
    stretches = [(0.1, 95, 505), (0.5, 350, 250)]
    assert math.isclose(share_p_value(stretches), 1 / math.prod(ratio(*each) for each in stretches), rel_tol=1e-8)


@pytest.mark.parametrize("counts", [(0, 0), (10, 90), (1, 9)])
def test_shares_as_asked_leave_a_p_value_of_one(counts: tuple[int, int]) -> None:
    assert ratio(0.1, *counts) <= 1 + 1e-12
    assert share_p_value([(0.1, *counts)]) == pytest.approx(1.0, abs=1e-9)
    assert share_p_value([(0.1, *counts)]) <= 1


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_where_one_arm_should_get_everything_nothing_is_tested(share: float) -> None:
    assert share_p_value([(share, 3, 400)]) == 1.0
    assert share_p_value([(share, 3, 400), (0.5, 371, 229)]) == share_p_value([(0.5, 371, 229)])
    assert share_p_value([]) == 1.0


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_its_inverse_is_one_on_average_at_most_when_shares_are_as_asked(share: float) -> None:
    """All counts of 200 requests, enumerated: a p-value of at most p has at most the probability p."""
    law = [(float(binom.pmf(k, 200, share)), share_p_value([(share, k, 200 - k)])) for k in range(201)]
    for p in (0.5, 0.05, 0.001):
        assert sum(chance for chance, found in law if found <= p) <= p
