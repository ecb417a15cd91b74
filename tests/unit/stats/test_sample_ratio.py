from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from sluicegate.flows.stats.sample_ratio import Arrivals, SampleRatioTest, binomial


def watched(candidate: float, stable: float, *, share: float, looks: int = 50, seed: int = 1) -> SampleRatioTest:
    rng = np.random.default_rng(seed)
    test = SampleRatioTest.begin(0.01, 10_000 * share * (1 - share))
    for _ in range(looks):
        test = test.look([Arrivals(share=share, candidate=rng.poisson(candidate), stable=rng.poisson(stable))])
    return test


@pytest.mark.parametrize(("n", "share"), [(1, 0.5), (40, 0.01), (5000, 0.25), (200_000, 0.5)])
def test_probabilities_are_binomial(n: int, share: float) -> None:
    low, masses = binomial(n, share)
    assert np.allclose(masses, binom.pmf(np.arange(low, low + masses.size), n, share), atol=1e-11)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_of_nothing_or_all_leaves_nothing_to_chance(share: float) -> None:
    assert binomial(7, share)[1].tolist() == [1.0]


def test_even_shares_are_no_mismatch() -> None:
    assert not watched(20, 180, share=0.1).mismatch


@pytest.mark.parametrize(("candidate", "stable"), [(100, 70), (70, 100)])
def test_too_many_and_too_few_are_found(candidate: float, stable: float) -> None:
    assert watched(candidate, stable, share=0.5).mismatch


def test_a_mismatch_stays() -> None:
    test = watched(100, 50, share=0.5)
    for _ in range(20):
        test = test.look([Arrivals(share=0.5, candidate=50, stable=100)])
    assert test.mismatch


def test_arms_told_apart_or_together_are_one_stratum() -> None:
    together = SampleRatioTest.begin(0.01, 100.0).look([Arrivals(share=0.5, candidate=30, stable=60)])
    apart = SampleRatioTest.begin(0.01, 100.0).look(
        [Arrivals(share=0.5, candidate=30, stable=0), Arrivals(share=0.5, candidate=0, stable=60)]
    )
    assert (together.mismatch, together.many.spent) == (apart.mismatch, apart.many.spent)
    assert together.mismatch
