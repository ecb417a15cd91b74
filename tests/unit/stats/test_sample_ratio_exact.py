"""The sample-ratio test at a single look, against the binomial itself."""

from __future__ import annotations

import pytest
from scipy.stats import binom

from sluicegate.flows.stats.sample_ratio import Arrivals, SampleRatioTest, binomial
from sluicegate.flows.stats.spending import Budget

ALPHA, PLANNED, N = 0.02, 400.0, 400


def looked(candidate: int, share: float) -> SampleRatioTest:
    arrivals = Arrivals(share=share, candidate=candidate, stable=N - candidate)
    return SampleRatioTest.begin(ALPHA, PLANNED).look([arrivals])


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_it_finds_exactly_the_tails_that_fit_the_budget_of_each_side(share: float) -> None:
    room = Budget(alpha=ALPHA / 2, information=PLANNED, reserve=0.1).spent(N * share * (1 - share))
    many = next(k for k in range(N) if binom.sf(k - 1, N, share) <= room)
    few = next(k for k in range(N, 0, -1) if binom.cdf(k, N, share) <= room)
    assert looked(many, share).mismatch
    assert not looked(many - 1, share).mismatch
    assert looked(few, share).mismatch
    assert not looked(few + 1, share).mismatch
    assert looked(many, share).many.spent == pytest.approx(binom.sf(many - 1, N, share))
    assert looked(many, share).few.spent == pytest.approx(binom.cdf(few, N, share))


def test_arrivals_count_their_information_and_add() -> None:
    test = looked(100, 0.2)
    assert test.information == pytest.approx(400 * 0.2 * 0.8)
    more = test.look([Arrivals(share=0.5, candidate=3, stable=1), Arrivals(share=0.2, candidate=1, stable=1)])
    assert more.information == pytest.approx(64 + 1 + 2 * 0.16)
    assert (more.candidate, more.stable) == (104, 302)
    assert Arrivals(share=0.2, candidate=1, stable=2).plus(Arrivals(share=0.7, candidate=10, stable=20)) == Arrivals(
        share=0.2, candidate=11, stable=22
    )


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_where_nothing_is_drawn_nothing_is_tested(share: float) -> None:
    test = SampleRatioTest.begin(ALPHA, PLANNED).look([Arrivals(share=share, candidate=0, stable=5)])
    assert not test.mismatch
    assert test.information == 0
    assert (test.candidate, test.stable) == (0, 5)
    assert test.look([]) == test


def test_without_more_information_nothing_is_found_yet() -> None:
    """Rows that should not be there at all tell nothing until chance has a say again."""
    test = looked(200, 0.5)
    held = test.look([Arrivals(share=0.0, candidate=300, stable=0)])
    assert (held.mismatch, held.candidate, held.information) == (False, 500, test.information)
    assert held.look([Arrivals(share=0.5, candidate=1, stable=1)]).mismatch


def test_an_empty_stratum_is_passed_over() -> None:
    nothing = Arrivals(share=0.5, candidate=0, stable=0)
    assert SampleRatioTest.begin(ALPHA, PLANNED).look([nothing]).many.masses.tolist() == [1.0]


@pytest.mark.parametrize(
    ("n", "share"),
    [(1, 0.5), (30, 0.5), (5000, 0.01), (100_000, 0.3), (100_000, 0.00002), (3000, 0.999), (901, 0.43), (777, 0.61)],
)
def test_the_window_is_twelve_standard_deviations_and_two(n: int, share: float) -> None:
    """Up to whole counts; what is left out is below the noise."""
    low, masses = binomial(n, share)
    reach, high = 12 * (n * share * (1 - share)) ** 0.5 + 2, low + masses.size - 1
    assert low == 0 or reach - 1e-6 <= n * share - low < reach + 2
    assert high == n or reach - 1e-6 <= high - n * share < reach + 2
    assert binom.cdf(low - 1, n, share) + binom.sf(high, n, share) < 1e-12
    assert not masses.flags.writeable
    assert masses.sum() == pytest.approx(1.0, abs=1e-12)


def test_a_single_arrival_counts() -> None:
    test = SampleRatioTest.begin(ALPHA, PLANNED).look([Arrivals(share=0.3, candidate=1, stable=0)])
    assert test.many.masses.tolist() == pytest.approx([0.7, 0.3])
    assert test.few.masses.tolist() == pytest.approx([0.3, 0.7])
    assert (test.information, test.candidate) == (pytest.approx(0.21), 1)


@pytest.mark.parametrize(("share", "at"), [(0.0, 0), (1.0, 7), (-0.1, 0), (1.1, 7)])
def test_shares_at_the_ends_leave_one_count(share: float, at: int) -> None:
    low, masses = binomial(7, share)
    assert (low, masses.tolist()) == (at, [1.0])
