from __future__ import annotations

import math

import numpy as np
import pytest

from sluicegate.flows.stats import scores
from sluicegate.flows.stats.lattice import Lattice, _convolve
from sluicegate.flows.stats.spending import Budget, obrien_fleming, pocock


def boundary(shape, looks: int, alpha: float) -> list[float]:
    """One-sided critical values of a normal process at evenly spaced looks."""
    lattice, found = Lattice(), []
    budget = Budget(alpha=alpha, information=1.0, shape=shape)
    for k in range(1, looks + 1):
        lattice = scores.spread(lattice, 1 / looks, 0.0, k / looks)
        lattice, edge = lattice.cut(budget.spent(k / looks))
        assert edge is not None
        found.append(edge / math.sqrt(k / looks))
    return found


def test_obrien_fleming_boundary_of_the_published_table() -> None:
    """Five looks, two-sided .05: Lan & DeMets 1983; ldbounds prints 4.877 3.357 2.680 2.290 2.031."""
    assert np.allclose(boundary(obrien_fleming, 5, 0.025), [4.877, 3.357, 2.680, 2.290, 2.031], atol=6e-4)


def test_pocock_boundary_of_the_published_table() -> None:
    """Five looks, two-sided .05: ldbounds prints 2.438 2.427 2.410 2.397 2.386."""
    assert np.allclose(boundary(pocock, 5, 0.025), [2.438, 2.427, 2.410, 2.397, 2.386], atol=6e-4)


def test_one_look_gives_the_quantile() -> None:
    assert math.isclose(boundary(pocock, 1, 0.05)[0], 1.6449, abs_tol=2e-3)


def test_no_mass_is_lost() -> None:
    lattice = Lattice()
    for k in range(1, 200):
        lattice = scores.spread(lattice, 1.0 + k / 10, 0.5, sum(1 + j / 10 for j in range(1, k + 1)))
        lattice, _ = lattice.cut(0.05 * k / 200)
    assert math.isclose(lattice.masses.sum() + lattice.spent, 1.0, abs_tol=1e-9)


@pytest.mark.parametrize("skewness", [-3.0, -0.5, -0.05, 0.0, 1e-12, 0.05, 0.5, 3.0])
@pytest.mark.parametrize("variance", [0.3, 2.0, 400.0])
def test_a_step_has_the_mean_and_variance_it_was_given(skewness: float, variance: float) -> None:
    lattice = scores.spread(Lattice(pitch=1.0, masses=np.array([0.5, 0.5])), variance, skewness * variance**1.5, 1.0)
    values = lattice.origin + lattice.pitch * np.arange(lattice.masses.size)
    mean = float(values @ lattice.masses)
    assert math.isclose(mean, 0.5, abs_tol=0.05 * math.sqrt(variance) + 1e-9)
    assert math.isclose(float((values - mean) ** 2 @ lattice.masses), variance + 0.25, rel_tol=0.06)


def test_a_step_has_the_third_moment_it_was_given() -> None:
    lattice = scores.spread(Lattice(pitch=1.0, masses=np.array([1.0, 0.0])), 400.0, 1.5 * 400**1.5, 1.0)
    values = lattice.origin + lattice.pitch * np.arange(lattice.masses.size)
    centred = values - float(values @ lattice.masses)
    assert math.isclose(float(centred**3 @ lattice.masses) / 400**1.5, 1.5, rel_tol=0.02)


def test_coarsening_keeps_mass_and_mean() -> None:
    lattice = Lattice(origin=3.0, pitch=0.5, masses=np.array([0.1, 0.2, 0.3, 0.25, 0.15]))
    wide = lattice.coarsen()
    values = wide.origin + wide.pitch * np.arange(wide.masses.size)
    assert math.isclose(wide.masses.sum(), 1.0)
    assert math.isclose(float(values @ wide.masses), 3.0 + 0.5 * (0.2 + 0.6 + 0.75 + 0.6))


def test_whole_values_are_cut_only_where_they_fit() -> None:
    lattice = Lattice(masses=np.array([0.5, 0.3, 0.15, 0.05]))
    cut, critical = lattice.cut_counts(0.1)
    assert critical == 3
    assert math.isclose(cut.spent, 0.05)
    again, critical = cut.cut_counts(0.2)
    assert critical == 2
    assert math.isclose(again.spent, 0.2)


def test_a_budget_too_small_for_arithmetic_rejects_nothing() -> None:
    lattice = Lattice(masses=np.array([0.5, 0.5]))
    assert lattice.cut_counts(1e-11) == (lattice, None)
    assert lattice.cut(1e-11) == (lattice, None)


def test_where_nothing_more_fits_what_was_cut_before_is_beyond() -> None:
    lattice = Lattice(origin=5.0, masses=np.array([0.5, 0.45]), spent=0.05)
    assert lattice.cut_counts(0.1) == (lattice, 7)


def test_a_count_that_chance_cannot_reach_is_no_boundary() -> None:
    lattice = Lattice(origin=5.0, masses=np.array([0.5, 0.5]))
    assert lattice.cut_counts(0.1) == (lattice, None)


def test_a_single_point_cannot_reject() -> None:
    assert Lattice().cut(0.05)[1] is None


def test_long_convolutions_agree_with_short_ones() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.random(1200), rng.random(1000)
    a, b = a / a.sum(), b / b.sum()
    assert np.allclose(Lattice(masses=a).step(0, b).masses, np.convolve(a, b), atol=1e-15)


def test_what_is_negligible_is_trimmed_at_both_ends() -> None:
    lattice = Lattice(origin=2.0, pitch=0.5, masses=np.array([1e-17, 1e-16, 0.4, 0.6, 1e-16])).step(3.0, np.ones(1))
    assert lattice.masses.tolist() == [0.4, 0.6]
    assert lattice.origin == 2.0 + 3.0 + 2 * 0.5


def test_masses_of_nothing_move_on() -> None:
    lattice = Lattice(origin=2.0, masses=np.zeros(3)).step(5.0, np.ones(1))
    assert lattice.origin == 7.0
    assert lattice.masses.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("sizes", [(3, 2), (600, 681), (1200, 1000)])
def test_a_convolution_short_or_long_is_that_of_the_definition(sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(2)
    a, b = rng.random(sizes[0]), rng.random(sizes[1])
    a[sizes[0] // 3 :] = 0
    found = _convolve(a, b)
    assert found.size == sum(sizes) - 1
    assert np.allclose(found, np.convolve(a, b), atol=1e-11)
    assert found.min() >= 0


@pytest.mark.parametrize(("masses", "wide"), [([1, 2, 3, 4], [2, 6, 2]), ([2, 4, 6, 8, 10], [4, 12, 14]), ([3], [3])])
def test_coarsening_shares_odd_masses_between_their_neighbours(masses: list[float], wide: list[float]) -> None:
    found = Lattice(origin=1.0, pitch=2.0, masses=np.array(masses, dtype=float)).coarsen()
    assert found.masses.tolist() == wide
    assert (found.origin, found.pitch) == (1.0, 4.0)


def test_critical_values_are_told_in_the_units_of_the_lattice() -> None:
    lattice = Lattice(origin=1.0, pitch=0.5, masses=np.array([0.5, 0.25, 0.2]), spent=0.05)
    assert lattice.cut_counts(0.25)[1] == 2.0
    assert lattice.cut_counts(0.15)[1] == 2.5
    assert lattice.cut_counts(1.1) == (lattice, None)
    lattice = Lattice(origin=1.0, pitch=0.5, masses=np.array([0.5, 0.3, 0.2]))
    cut, edge = lattice.cut(0.3)
    assert edge is not None
    assert math.isclose(edge, 1.0 + (2 - 0.5 - 1 / 3) * 0.5)
    assert np.allclose(cut.masses, [0.5, 0.2])
    assert cut.spent == 0.3
    cut, edge = lattice.cut(0.05)
    assert edge is not None
    assert math.isclose(edge, 1.0 + (3 - 0.5 - 0.25) * 0.5)
    cut, edge = lattice.cut(0.7)
    assert edge is not None
    assert math.isclose(edge, 1.0 + (1 - 0.5 - 0.4) * 0.5)
    assert lattice.cut(1.5) == (lattice, None)


def test_the_smallest_budget_is_a_budget() -> None:
    lattice = Lattice(masses=np.array([0.5, 0.5 - 1e-11, 1e-11]))
    assert lattice.cut_counts(1e-10)[1] == 2
    assert lattice.cut(1e-10)[1] is not None
    two = Lattice(masses=np.array([0.9, 0.1]))
    assert two.cut(0.05)[1] == 1.0
