from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sluicegate.flows.stats.cohorts import CohortTest
from sluicegate.flows.stats.increment import Increment, Sums
from sluicegate.flows.stats.intervals import Estimate, estimate, lacking
from sluicegate.flows.stats.populations import Events, Losses, Population, Purchases, split
from sluicegate.flows.stats.scores import Score
from sluicegate.flows.stats.sequential import CountTest, ScoreTest
from sluicegate.flows.stats.spending import Budget
from sluicegate.flows.stats.trial import Design, Kind, Rung, Trial

BUDGET = Budget(alpha=0.05, information=100.0)


def trial(
    *reaches: tuple[float, float | None, bool], harm: float | None = 6.0, higher: bool = True, at: int = 3
) -> Trial:  # fmt: skip
    """A trial of information 20, difference 4 and level 30; for each margin its reach, and whether it is ruled out."""
    design = Design(
        kind=Kind.MEAN, worse_is_higher=higher, alpha=0.05, beta=0.05, information=100.0,
        rungs=tuple(Rung(margin=margin, information=100.0) for margin, _, _ in reaches),
    )  # fmt: skip
    return dataclasses.replace(
        Trial.begin(design),
        harm=ScoreTest(budget=BUDGET, reach=harm, score=Score(value=4.0 * design.sign)),
        margins=tuple(
            ScoreTest(budget=BUDGET, reach=reach, rejected=out, score=Score(value=30.0 * margin - 4.0 * design.sign))
            for margin, reach, out in reaches
        ),
        sums=Sums(information=20.0, difference=4.0, level=30.0),
        looks=7,
        ruled_out_at=tuple(at if out else None for _, _, out in reaches),
    )


def about(low: float | None, high: float | None) -> Estimate:
    return Estimate(
        value=0.2, level=1.5,
        low=None if low is None else pytest.approx(low), high=None if high is None else pytest.approx(high),
    )  # fmt: skip


def test_nothing_is_estimated_from_nothing() -> None:
    empty = dataclasses.replace(trial((0.1, 2.0, False)), sums=Sums())
    assert estimate(empty) == Estimate(value=None, low=None, high=None, level=None)


def test_the_ends_are_where_the_two_tests_reject() -> None:
    assert estimate(trial((0.1, 2.0, False))) == about(0.2 - 0.3, 0.2 + 0.1)


def test_where_lower_is_worse_the_ends_change_places() -> None:
    found = estimate(trial((0.1, 2.0, False), higher=False))
    assert found == about(0.2 - 0.1, 0.2 + 0.3)


def test_a_test_that_cannot_reject_gives_no_end() -> None:
    assert estimate(trial((0.1, None, False), harm=None)) == about(None, None)
    assert estimate(trial()).high is None


@pytest.mark.parametrize(
    ("margin", "reach"), [(0.3, 8.0), (0.1, 2.0), (None, 2.0), (0.7, 2.0)], ids=["wide", "least", "none", "unknown"]
)
def test_the_harmful_end_is_that_of_the_margin_asked_for_or_of_the_least(margin: float | None, reach: float) -> None:
    assert estimate(trial((0.3, 8.0, False), (0.1, 2.0, False)), margin).high == pytest.approx(0.2 + reach / 20)


def test_a_margin_gives_the_end_up_to_the_look_that_rules_it_out() -> None:
    before = trial((0.3, 8.0, True), (0.1, 2.0, False), at=6)
    assert estimate(before, 0.3).high == pytest.approx(0.2 + 0.1)
    now = trial((0.3, 8.0, True), (0.1, 2.0, False), at=7)
    assert estimate(now, 0.3).high == pytest.approx(0.2 + 0.4)
    superior = trial((0.3, 8.0, True), (0.0, 2.0, True), at=6)
    assert estimate(superior, 0.0).high == pytest.approx(0.2 + 0.1)


def test_the_estimate_lies_within_its_interval() -> None:
    far = dataclasses.replace(
        trial((0.1, 2.0, False)), harm=ScoreTest(budget=BUDGET, reach=3.0, score=Score(value=9.0))
    )
    assert estimate(far).low == pytest.approx(0.2)
    past = ScoreTest(budget=BUDGET, reach=1.0, score=Score(value=9.0))
    assert estimate(dataclasses.replace(trial((0.1, 2.0, False)), margins=(past,))).high == pytest.approx(0.2)


def test_a_little_information_is_enough_for_an_estimate() -> None:
    little = dataclasses.replace(trial((0.1, 2.0, False)), sums=Sums(information=0.5, difference=0.1, level=0.75))
    assert (estimate(little).value, estimate(little).level) == (0.2, 1.5)


def test_cohorts_lack_what_the_counts_do_until_a_unit_returns_and_what_the_score_does_then() -> None:
    scores = ScoreTest(budget=BUDGET, reach=5.0, score=Score(value=2.0))
    counts = CountTest(budget=BUDGET, reach=9.0, observed=14, expected=12.5)
    assert lacking(CohortTest(test=scores)) == 3.0
    assert lacking(CohortTest(test=scores, counts=counts)) == lacking(counts) == pytest.approx(9.0 - 1.5, abs=1.0)


WORLDS: dict[str, tuple[Kind, Population, Population, int]] = {
    "errors": (Kind.COUNT, Events(rate=0.3), Events(rate=0.4), 1),
    "conversions": (Kind.COUNT, Events(rate=0.3), Events(rate=0.2), -1),
    "losses": (Kind.MEAN, Losses(mean=1.0, sd=1.0), Losses(mean=1.3, sd=1.2), 1),
    "revenue": (Kind.MEAN, Purchases(rate=0.3), Purchases(rate=0.2), -1),
}


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("is_equal", [False, True], ids=["worse", "equal"])
@pytest.mark.parametrize("seed", range(6))
def test_the_interval_says_what_the_tests_say(world: str, is_equal: bool, seed: int) -> None:
    """It reaches 0 until the look that finds harm, and beyond the margin until the look that rules it out."""
    kind, stable, worse, sign = WORLDS[world]
    design = Design(
        kind=kind, worse_is_higher=sign > 0, alpha=0.05, beta=0.05, information=500.0,
        rungs=(Rung(margin=0.3, information=500.0), Rung(margin=0.0, information=500.0)),
    )  # fmt: skip
    now, rng, information = Trial.begin(design), np.random.default_rng(seed), 0.0
    while now.failed_at is None and now.ruled_out(0.3) is None and now.looks < 60:
        pair = split(rng, 100, 0.3, stable, stable if is_equal else worse)
        information += pair.information
        now = now.look(Increment(pairs=[pair], information=information))
        seen = estimate(now, 0.3)
        least, most = (seen.low, seen.high) if sign > 0 else (seen.high, seen.low)
        assert (least is not None and sign * least > 0) == (now.failed_at is not None)
        assert (most is not None and sign * most <= 0.3 * (seen.level or 0.0)) == (now.ruled_out_at[0] is not None)
    assert now.failed_at is not None or now.ruled_out(0.3) is not None
