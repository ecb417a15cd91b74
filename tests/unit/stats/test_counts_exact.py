"""Draws against Fisher's laws of scipy: means, what is kept of the tails, and where chance has no say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import hypergeom, nchypergeom_fisher

from sluicegate.flows.stats.counts import Draw, expected, hypergeometric, spread
from sluicegate.flows.stats.lattice import Lattice


@pytest.mark.parametrize("odds", [0.5, 2.0, 3.0])
def test_the_mean_is_that_of_fishers_law(odds: float) -> None:
    draw = Draw(size=4000, others=3000, events=2500, mine=0, odds=odds)
    assert hypergeometric(4000, 3000, 2500, odds)[0] > 0
    assert math.isclose(expected([draw]), nchypergeom_fisher(7000, 4000, 2500, odds).mean(), rel_tol=1e-9)
    assert math.isclose(expected([draw, draw]), 2 * expected([draw]))


def test_the_mean_of_arms_that_are_alike_is_exact() -> None:
    draws = [Draw(size=300_000, others=700_000, events=12_345, mine=0), Draw(size=7, others=2, events=8, mine=6)]
    assert expected(draws) == math.fsum((0.3 * 12_345, 8 * 7 / 9))


def test_arms_are_alike_unless_odds_are_given() -> None:
    found = spread(Lattice(), [Draw(size=40, others=60, events=30, mine=9)])
    law = hypergeom(100, 30, 40)
    assert np.allclose(found.masses, law.pmf(found.origin + np.arange(found.masses.size)), atol=1e-14)


def test_strata_convolve_and_what_was_spread_before_stays() -> None:
    strata = [Draw(size=3, others=4, events=3, mine=1), Draw(size=5, others=2, events=4, mine=4)]
    law = np.convolve(hypergeom(7, 3, 3).pmf(range(4)), hypergeom(7, 4, 5).pmf(range(5)))
    at_once = spread(Lattice(), strata)
    one_by_one = spread(spread(Lattice(), strata[:1]), strata[1:])
    for found in (at_once, one_by_one):
        assert np.allclose(found.masses, law[law > 1e-16])
        assert found.origin == int(np.flatnonzero(law > 1e-16)[0])


@pytest.mark.parametrize(
    ("size", "others", "events", "informative"),
    [(1, 1, 1, True), (2, 1, 2, True), (0, 3, 1, False), (3, 0, 1, False), (0, 0, 0, False), (1, 1, 0, False),
     (1, 1, 2, False), (2, 3, 5, False), (2, 3, 4, True)],
)  # fmt: skip
def test_chance_has_a_say_where_both_arms_have_rows_and_outcomes_differ(
    size: int, others: int, events: int, informative: bool
) -> None:
    assert Draw(size=size, others=others, events=events, mine=0).is_informative is informative


SPARSE = [
    (size, others, events)
    for mean in (0.01, 0.3, 0.5, 0.7, 1.3, 3.1, 10.2)
    for size, others, events in [(round(1e5 * mean), 10**7, 100), (100, 10**7, round(1e5 * mean))]
]
"""Draws whose count is all but Poisson, where the normal that touches the mode tells least."""


@pytest.mark.parametrize(("size", "others", "events"), [*SPARSE, (500, 700, 300), (30_000, 70_000, 9_001)])
def test_what_is_left_out_of_the_tails_is_below_the_noise(size: int, others: int, events: int) -> None:
    low, masses = hypergeometric(size, others, events)
    law = hypergeom(size + others, events, size)
    assert law.sf(low + masses.size - 1) + law.cdf(low - 1) < 1e-13


def mirrored(size: int, others: int, events: int) -> list[tuple[int, int, int]]:
    """The same table with each of its four cells in turn in the place of the candidate's events."""
    rest = size + others - events
    return [(size, others, events), (others, size, events), (size, others, rest), (others, size, rest)]


@pytest.mark.parametrize(
    ("size", "others", "events"),
    [each for table in [*SPARSE[::3], (100, 10**6, 5000), (900, 1100, 500)] for each in mirrored(*table)],
)
def test_no_more_is_kept_than_the_normal_at_the_mode_asks_for(size: int, others: int, events: int) -> None:
    """12 standard deviations and 2 counts, up to whole counts; the variance of counts by the four cells."""
    low, masses = hypergeometric(size, others, events)
    high = low + masses.size - 1
    mode = size * events / (size + others)
    cells = (mode, size - mode, events - mode, others - events + mode)
    reach = 12 / math.sqrt(sum(1 / max(cell, 0.5) for cell in cells)) + 2
    bottom, top = max(0, events - others), min(size, events)
    assert low == bottom or reach - 1e-6 <= mode - low < reach + 2
    assert high == top or reach - 1e-6 <= high - mode < reach + 2


def test_the_window_of_unequal_odds_is_about_their_mode() -> None:
    """A million rows: the window is a hundredth of the support, and nothing is missing from it."""
    for odds in (0.2, 5.0):
        low, masses = hypergeometric(500_000, 500_000, 300_000, odds)
        law = nchypergeom_fisher(1_000_000, 500_000, 300_000, odds)
        assert masses.size < 6_000
        assert math.isclose(low + float(masses @ np.arange(masses.size)), law.mean(), rel_tol=1e-6)
        assert max(masses[0], masses[-1]) < 1e-20


def test_probabilities_are_shared_between_callers_and_cannot_be_changed() -> None:
    _, masses = hypergeometric(10, 20, 6)
    with pytest.raises(ValueError, match="read-only"):
        masses[0] = 1.0
