"""The score of a stratum, and the steps that its lattice is spread by."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm, pearson3

from sluicegate.flows.stats import scores
from sluicegate.flows.stats.lattice import Lattice
from sluicegate.flows.stats.pair import Pair
from sluicegate.flows.stats.populations import tally_of
from sluicegate.flows.stats.scores import Score, score
from sluicegate.registry.words.tally import Tally

C, S = np.array([0.2, 1.5, 0.9]), np.array([0.1, 0.4, 2.0, 0.0, 0.7])
PAIR = Pair(stable=tally_of(S), candidate=tally_of(C))


def test_scores_of_independent_strata_add_and_turn_around() -> None:
    a = Score(value=1.0, randomisation=2.0, welch=3.0, third=4.0)
    b = Score(value=10.0, randomisation=20.0, welch=30.0, third=40.0)
    assert a + b == Score(value=11.0, randomisation=22.0, welch=33.0, third=44.0)
    assert b - a == Score(value=9.0, randomisation=18.0, welch=27.0, third=36.0)
    assert -a == Score(value=-1.0, randomisation=2.0, welch=3.0, third=-4.0)


def test_the_two_variances_of_a_score() -> None:
    found = score([PAIR])
    both = np.concatenate((C, S))
    share = C.size * S.size / both.size
    assert math.isclose(found.value, C.sum() - C.size * both.mean())
    assert math.isclose(found.value, share * (C.mean() - S.mean()))
    assert math.isclose(found.randomisation, share * both.var(ddof=1))
    assert math.isclose(found.welch, share**2 * (C.var(ddof=1) / C.size + S.var(ddof=1) / S.size))


def test_strata_add_and_those_with_an_empty_arm_say_nothing() -> None:
    other = Pair(stable=tally_of(C * 2), candidate=tally_of(S + 1))
    empty = [Pair(stable=tally_of(S)), Pair(candidate=tally_of(S)), Pair()]
    assert score([PAIR, *empty, other]) == score([PAIR]) + score([other])
    assert score([Pair(stable=tally_of(S)), Pair(candidate=tally_of(S))]) == Score()


def test_of_a_single_row_the_spread_is_that_of_all() -> None:
    pair = Pair(stable=tally_of(S), candidate=tally_of(C[:1]))
    both = np.concatenate((C[:1], S))
    welch = (5 / 6) ** 2 * (both.var(ddof=1) / 1 + S.var(ddof=1) / 5)
    assert math.isclose(score([pair]).welch, welch)
    two = score([Pair(stable=tally_of(S[:1]), candidate=tally_of(C[:1]))])
    assert two.third == 0.0
    assert math.isclose(two.randomisation, 0.5 * np.var([S[0], C[0]], ddof=1))


def test_sums_that_rounding_made_negative_are_nothing() -> None:
    flat = Tally(n=3, total=3.0, squares=3.0 - 1e-12, cubes=3.0)
    found = score([Pair(stable=flat, candidate=flat)])
    assert (found.randomisation, found.welch) == (0.0, 0.0)


def test_the_variance_is_the_larger_but_not_for_what_the_score_explains() -> None:
    assert Score(randomisation=2.0, welch=1.0).variance == 2.0
    assert Score(randomisation=1.0, welch=2.0).variance == 2.0
    assert Score(value=0.5, randomisation=1.0, welch=2.0, third=1.0).variance == 1.5
    assert Score(value=0.5, randomisation=2.0, welch=5.0, third=4.0).variance == 4.0
    assert Score(value=-0.5, randomisation=1.0, welch=2.0, third=1.0).variance == 2.0
    assert Score(value=9.0, randomisation=1.0, welch=2.0, third=1.0).variance == 1.0
    assert Score(randomisation=0.0, welch=3.0).variance == 3.0
    assert Score(value=1.0, randomisation=0.5, welch=3.0, third=0.5).variance == 2.0


def test_skewness_is_the_third_cumulant_in_standard_deviations() -> None:
    assert Score(randomisation=4.0, third=16.0).skewness == 2.0
    assert Score(randomisation=0.5, third=1.0).skewness == 1.0 / 0.5**1.5
    assert Score(third=16.0).skewness == 0.0


SKEWS = (-3.0, -0.5, -0.05, 0.0, 1e-7, 0.05, 0.0999, 0.1, 0.5, 3.0)


def tail(lattice: Lattice, above: float) -> float:
    centres = lattice.origin + lattice.pitch * np.arange(lattice.masses.size)
    return float(lattice.masses[centres > above].sum())


@pytest.mark.parametrize("skewness", SKEWS)
def test_a_step_is_a_shifted_gamma_with_its_skewness(skewness: float) -> None:
    """Both tails against scipy's Pearson III, at the middle of the cells' edges."""
    sd = 40.0
    lattice = scores.spread(
        Lattice(pitch=1.0, masses=np.array([1.0, 0.0])), sd**2, skewness * sd**3, so_far=sd**2
    )  # fmt: skip
    law = pearson3(skewness) if skewness else norm
    shrunk = math.sqrt(sd**2 - 1 / 12)
    tolerance = 4e-3 if 0 < abs(skewness) < 0.1 else 1e-6
    assert lattice.pitch == 1.0
    for z in (-2.0, -1.0, 0.0, 1.0, 2.5, 4.0):
        edge = math.floor(z * sd) + 0.5
        assert math.isclose(tail(lattice, edge), law.sf(edge / shrunk), rel_tol=tolerance, abs_tol=1e-9)
        below = 1 - tail(lattice, edge)
        assert math.isclose(below, law.cdf(edge / shrunk), rel_tol=tolerance, abs_tol=1e-9)


@pytest.mark.parametrize("skewness", [-2.5, 0.0, 2.5])
def test_a_step_reaches_far_enough_and_keeps_every_mass(skewness: float) -> None:
    lattice = scores.spread(Lattice(pitch=1.0, masses=np.array([1.0, 0.0])), 900.0, skewness * 30.0**3, so_far=900.0)
    top = (lattice.origin + lattice.masses.size) / 30
    law = pearson3(skewness) if skewness else norm
    assert math.isclose(lattice.masses.sum(), 1.0, rel_tol=1e-9)
    assert law.sf(top) < 1e-12
    assert law.cdf((lattice.origin - 0.5) / math.sqrt(900 - 1 / 12)) < 1e-12


def test_a_step_smaller_than_a_cell_is_shared_with_the_neighbours() -> None:
    lattice = scores.spread(Lattice(pitch=2.0, masses=np.array([1.0, 0.0])), 1.0, 0.0, so_far=4.0)
    assert lattice.origin == -2.0
    assert lattice.masses.tolist() == [0.125, 0.75, 0.125]
    whole = scores.spread(Lattice(pitch=1.0, masses=np.array([1.0, 0.0])), 1.0, 0.0, so_far=1.0)
    assert whole.masses.size > 3


def test_no_variance_is_no_step() -> None:
    lattice = Lattice(origin=3.0, masses=np.array([0.5, 0.5]))
    assert scores.spread(lattice, 0.0, 1.0, so_far=1.0) is lattice
    assert scores.spread(lattice, -1.0, 1.0, so_far=1.0) is lattice


def test_the_pitch_follows_the_standard_deviation() -> None:
    first = scores.spread(Lattice(origin=2.0, spent=0.01), 9.0, 0.0, so_far=9.0)
    assert first.pitch == 0.1
    assert first.spent == 0.01
    assert math.isclose(first.origin + first.pitch * (first.masses.size - 1) / 2, 2.0)
    kept = scores.spread(first, 27.0, 0.0, so_far=36.0)
    assert kept.pitch == 0.1
    coarse = scores.spread(first, 27.01, 0.0, so_far=36.01)
    assert coarse.pitch == 0.2
    assert scores.spread(first, 1000.0, 0.0, so_far=1009.0).pitch == 0.8


def test_skewness_beyond_reason_is_held_back() -> None:
    wild = scores.spread(Lattice(pitch=1.0, masses=np.array([1.0, 0.0])), 400.0, 50 * 8000.0, so_far=400.0)
    most = scores.spread(Lattice(pitch=1.0, masses=np.array([1.0, 0.0])), 400.0, 8 * 8000.0, so_far=400.0)
    assert wild.masses.tolist() == most.masses.tolist()
    wild = scores.spread(Lattice(pitch=1.0, masses=np.array([1.0, 0.0])), 400.0, -50 * 8000.0, so_far=400.0)
    least = scores.spread(Lattice(pitch=1.0, masses=np.array([1.0, 0.0])), 400.0, -8 * 8000.0, so_far=400.0)
    assert wild.masses.tolist() == least.masses.tolist() == most.masses.tolist()[::-1]


def test_only_what_rounding_leaves_is_held_to_be_nothing() -> None:
    small = score([Pair(stable=tally_of(S * 1e-9), candidate=tally_of(C * 1e-9))])
    assert math.isclose(small.value, 1e-9 * score([PAIR]).value)
    assert math.isclose(small.randomisation, 1e-18 * score([PAIR]).randomisation)
    n = 20_000_000
    many = Tally(n=n, total=float(n), squares=1.01 * n, cubes=1.03 * n)
    assert math.isclose(score([Pair(stable=many, candidate=many)]).randomisation, n / 2 * 0.01, rel_tol=1e-6)
    spread = 3e-7
    near = tally_of(np.array([1 - spread, 1 + spread]))
    assert score([Pair(stable=near, candidate=near)]).randomisation > 0
    spread = 3e-8
    same = tally_of(np.array([1 - spread, 1 + spread]))
    assert score([Pair(stable=same, candidate=same)]) == Score()


@pytest.mark.parametrize("skewness", [-1.0, 0.0, 1.0])
def test_small_steps_reach_far_enough_too(skewness: float) -> None:
    sd = math.sqrt(2.0)
    lattice = scores.spread(Lattice(pitch=1.0, masses=np.array([1.0, 0.0])), 2.0, skewness * sd**3, so_far=2.0)
    law = pearson3(skewness) if skewness else norm
    shrunk = math.sqrt(2.0 - 1 / 12)
    assert law.sf((lattice.origin + lattice.masses.size - 0.5) / shrunk) < 1e-15
    assert law.cdf((lattice.origin - 0.5) / shrunk) < 1e-15
    assert math.isclose(tail(lattice, 4.5), law.sf(4.5 / shrunk), rel_tol=1e-6)
    assert math.isclose(1 - tail(lattice, -3.5), law.cdf(-3.5 / shrunk), rel_tol=1e-6, abs_tol=1e-12)


def test_a_step_is_scaled_to_the_pitch() -> None:
    point = np.array([1.0, 0.0])
    fine = scores.spread(Lattice(pitch=0.5, masses=point), 20.0**2, 1.5 * 20.0**3, so_far=20.0**2)
    whole = scores.spread(Lattice(pitch=1.0, masses=point), 40.0**2, 1.5 * 40.0**3, so_far=40.0**2)
    assert np.allclose(fine.masses, whole.masses, rtol=1e-12)
    assert fine.origin == whole.origin / 2
