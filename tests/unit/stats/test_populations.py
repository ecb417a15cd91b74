"""Populations draw what they say, and sample sizes are those of the textbook."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import lognorm, norm

from sluicegate.flows.stats.pair import Pair
from sluicegate.flows.stats.populations import (
    Durations,
    Events,
    Losses,
    Population,
    Purchases,
    sample_size,
    split,
    tally_of,
)

ALL: list[Population] = [
    Events(rate=0.3),
    Losses(mean=0.5, sd=0.4),
    Durations(mean=0.2, sigma=0.7),
    Purchases(rate=0.2, amount=3.0, cap=5.0),
]


@pytest.mark.parametrize("population", ALL, ids=lambda each: type(each).__name__)
def test_values_have_the_mean_and_the_variance_that_are_told(population: Population) -> None:
    n = 400_000
    drawn = population.draw(np.random.default_rng(1), n)
    mean = drawn.total / n
    assert drawn.n == n
    assert abs(mean - population.mean) < 4 * math.sqrt(population.variance / n)
    assert math.isclose(drawn.squares / n - mean**2, population.variance, rel_tol=0.03)
    assert drawn.cubes > 0


def test_events_are_zeros_and_ones() -> None:
    drawn = Events(rate=0.3).draw(np.random.default_rng(1), 50)
    assert drawn.total == drawn.squares == drawn.cubes == np.random.default_rng(1).binomial(50, 0.3)
    assert Events(rate=0.3).variance == pytest.approx(0.21)


def test_losses_and_durations_are_those_of_their_laws() -> None:
    shape = (0.5 / 0.4) ** 2
    assert Losses(mean=0.5, sd=0.4).draw(np.random.default_rng(2), 9) == tally_of(
        np.random.default_rng(2).gamma(shape, 0.5 / shape, 9)
    )
    law = lognorm(0.7, scale=0.2 * math.exp(-(0.7**2) / 2))
    durations = Durations(mean=0.2, sigma=0.7)
    assert durations.draw(np.random.default_rng(2), 9) == tally_of(
        np.random.default_rng(2).lognormal(math.log(0.2) - 0.7**2 / 2, 0.7, 9)
    )
    assert durations.variance == pytest.approx(law.var())


def test_purchases_have_the_moments_of_a_capped_lognormal() -> None:
    bought = Purchases(rate=0.2, amount=3.0, sigma=0.8, cap=5.0)
    median = 3.0 * math.exp(-(0.8**2) / 2)

    def moment(k: int) -> float:
        law = lognorm(0.8, scale=median)
        return quad(lambda x: x**k * law.pdf(x), 0, 5 * median)[0] + (5 * median) ** k * law.sf(5 * median)

    assert bought.mean == pytest.approx(0.2 * moment(1), rel=1e-6)
    assert bought.variance == pytest.approx(0.2 * moment(2) - (0.2 * moment(1)) ** 2, rel=1e-6)
    rng = np.random.default_rng(3)
    values = np.minimum(
        rng.lognormal(math.log(median), 0.8, int(np.random.default_rng(3).binomial(50, 0.2))), 5 * median
    )
    drawn = bought.draw(np.random.default_rng(3), 50)
    assert drawn.n == 50
    assert values.size > 0
    assert drawn.total <= 50 * 5 * median
    assert Purchases(rate=1.0, sigma=3.0, cap=1.5).draw(np.random.default_rng(4), 1000).squares <= 1000 * (
        1.5 * math.exp(-4.5)
    ) ** 2 * (1 + 1e-9)
    assert (bought.amount, Purchases(rate=0.1).amount, Purchases(rate=0.1).sigma, Purchases(rate=0.1).cap) == (
        3,
        1,
        1,
        20,
    )


def test_moments_are_power_sums() -> None:
    found = tally_of(np.array([1.0, 2.0, -3.0]))
    assert (found.n, found.total, found.squares, found.cubes) == (3, 0.0, 14.0, -18.0)


def test_rows_are_split_by_chance() -> None:
    pair = split(np.random.default_rng(5), 1000, 0.1, Events(rate=0.0), Events(rate=1.0))
    mine = np.random.default_rng(5).binomial(1000, 0.1)
    assert isinstance(pair, Pair)
    assert (pair.stable.n, pair.candidate.n, pair.stable.total, pair.candidate.total) == (1000 - mine, mine, 0, mine)


def test_the_sample_size_has_the_power_it_promises() -> None:
    stable, candidate, weight = Losses(mean=0.5, sd=0.4), Losses(mean=0.54, sd=0.5), 0.2
    n = sample_size(stable, candidate, weight)
    error = math.sqrt(0.5**2 / (weight * n) + 0.4**2 / ((1 - weight) * n))
    assert norm.sf(norm.isf(0.025) - 0.04 / error) == pytest.approx(0.8, abs=1e-6)
    assert sample_size(candidate, stable, 1 - weight) == pytest.approx(n)
