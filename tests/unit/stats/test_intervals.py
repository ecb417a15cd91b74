from __future__ import annotations

import dataclasses

import pytest

from flows.stats.intervals import Estimate, estimate
from flows.stats.news import Sums
from flows.stats.sequential import ScoreTest
from flows.stats.spending import Budget
from flows.stats.trial import Design, Kind, Rung, Trial

BUDGET = Budget(alpha=0.05, information=100.0)


def trial(*reaches: tuple[float, float | None, bool], harm: float | None = 6.0, higher: bool = True) -> Trial:
    """A trial of information 20, difference 4 and level 30; for each margin its reach, and whether it is ruled out."""
    design = Design(
        kind=Kind.MEAN, worse_is_higher=higher, alpha=0.05, beta=0.05, information=100.0,
        rungs=tuple(Rung(margin=margin, information=100.0) for margin, _, _ in reaches),
    )  # fmt: skip
    return dataclasses.replace(
        Trial.begin(design),
        harm=ScoreTest(budget=BUDGET, reach=harm),
        margins=tuple(ScoreTest(budget=BUDGET, reach=reach, rejected=out) for _, reach, out in reaches),
        sums=Sums(information=20.0, difference=4.0, level=30.0),
    )


def test_nothing_is_estimated_from_nothing() -> None:
    empty = dataclasses.replace(trial((0.1, 2.0, False)), sums=Sums())
    assert estimate(empty) == Estimate(value=None, low=None, high=None, level=None)


def test_the_ends_are_where_the_two_tests_reject() -> None:
    assert estimate(trial((0.1, 2.0, False))) == Estimate(value=0.2, low=0.2 - 0.3, high=0.2 + 0.1, level=1.5)


def test_where_lower_is_worse_the_ends_change_places() -> None:
    found = estimate(trial((0.1, 2.0, False), higher=False))
    assert (found.low, found.high) == (0.2 - 0.1, 0.2 + 0.3)


def test_a_test_that_cannot_reject_gives_no_end() -> None:
    assert estimate(trial((0.1, None, False), harm=None)) == Estimate(value=0.2, low=None, high=None, level=1.5)
    assert estimate(trial()).high is None


@pytest.mark.parametrize(
    ("margin", "reach"), [(0.3, 8.0), (0.1, 2.0), (None, 2.0), (0.7, 2.0)], ids=["wide", "least", "none", "unknown"]
)
def test_the_harmful_end_is_that_of_the_margin_asked_for_or_of_the_least(margin: float | None, reach: float) -> None:
    assert estimate(trial((0.3, 8.0, False), (0.1, 2.0, False)), margin).high == 0.2 + reach / 20


def test_a_margin_that_is_ruled_out_no_longer_moves_the_end() -> None:
    assert estimate(trial((0.3, 8.0, True), (0.1, 2.0, False)), 0.3).high == 0.2 + 0.1
