"""How tests are asked about cohorts: as counts until a unit returns, as scores from then on."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sluicegate.flows.stats.cohorts import Change, Cohort, CohortTest
from sluicegate.flows.stats.increment import Increment, Sums, look_for_harm, look_within_margin
from sluicegate.flows.stats.pair import Pair
from sluicegate.flows.stats.sequential import CountTest
from sluicegate.flows.stats.spending import Budget
from sluicegate.registry.words.tally import Tally, UnitSums

BUDGET = Budget(alpha=0.05, information=100.0)
N = np.array([3.0, 1.0, 2.0, 5.0, 1.0])
X = np.array([1.0, 0.5, 2.0, 4.0, 0.0])


def units(x: np.ndarray, n: np.ndarray) -> UnitSums:
    return UnitSums(
        size=x.size, x=x.sum(), n=n.sum(), xx=x @ x, xn=x @ n, nn=n @ n, xxx=(x**3).sum(), xxn=(x * x * n).sum(),
        xnn=(x * n * n).sum(), nnn=(n**3).sum(),
    )  # fmt: skip


def once(events: int, rows: int) -> UnitSums:
    return units(np.repeat([1.0, 0.0], [events, rows - events]), np.ones(rows))


def counted(n: int, events: int) -> Tally:
    return Tally(n=n, total=events, squares=events, cubes=events)


SINGLE = Change(now=Cohort(stable=once(30, 200), candidate=once(20, 100)))
OTHER = Change(now=Cohort(stable=once(30, 200), candidate=once(9, 100)))
RETURNED = Change(now=Cohort(stable=units(X, N), candidate=units(X[:3] + 1, N[:3])))
PAIR = Pair(stable=counted(200, 30), candidate=counted(100, 20))
SUMS = Sums().add([PAIR])


def news(change: Change) -> Increment:
    moved = Increment(information=80.0, changes=[OTHER])
    return Increment(information=80.0, changes=[change], at_margin={0.4: moved})


@pytest.mark.parametrize("sign", [1, -1])
def test_harm_of_units_that_came_once_is_that_of_their_rows(sign: int) -> None:
    found = look_for_harm(CohortTest.begin(BUDGET, counts=True), news(SINGLE), sign)
    rows = look_for_harm(CountTest(budget=BUDGET), Increment(pairs=[PAIR], information=80.0), sign)
    assert isinstance(found, CohortTest)
    assert isinstance(rows, CountTest)
    assert found.counts is not None
    assert (found.counts.observed, found.counts.expected, found.reach) == (rows.observed, rows.expected, rows.reach)
    assert found.counts.information == 80.0


@pytest.mark.parametrize("sign", [1, -1])
def test_a_margin_of_units_that_came_once_has_the_odds_of_their_rows(sign: int) -> None:
    found = look_within_margin(CohortTest.begin(BUDGET, counts=True), news(SINGLE), sign, 0.5, SUMS)
    rows = look_within_margin(CountTest(budget=BUDGET), Increment(pairs=[PAIR], information=80.0), sign, 0.5, SUMS)
    assert isinstance(found, CohortTest)
    assert isinstance(rows, CountTest)
    assert found.counts is not None
    assert (found.counts.observed, found.counts.expected, found.reach) == (rows.observed, rows.expected, rows.reach)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_margin_with_a_threshold_of_its_own_is_asked_there_whether_the_arms_are_alike(sign: int) -> None:
    found = look_within_margin(CohortTest.begin(BUDGET, counts=True), news(SINGLE), sign, 0.4, SUMS)
    alike = look_for_harm(CohortTest.begin(BUDGET, counts=True), news(OTHER), -sign)
    assert isinstance(found, CohortTest)
    assert isinstance(alike, CohortTest)
    assert found.counts is not None
    assert alike.counts is not None
    assert found.counts.observed == alike.counts.observed == (30 if sign > 0 else 9)
    assert (found.counts.expected, found.reach) == (alike.counts.expected, alike.reach)


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("sign", [1, -1])
def test_units_that_returned_are_scored_in_the_direction_that_is_asked(sign: int, counts: bool) -> None:
    begun = CohortTest.begin(BUDGET, counts=counts)
    harm, margin = (
        look_for_harm(begun, news(RETURNED), sign),
        look_within_margin(begun, news(RETURNED), sign, 0.5, Sums()),
    )
    assert isinstance(harm, CohortTest)
    assert isinstance(margin, CohortTest)
    mine, mine_n = (X[:3] + 1).sum(), N[:3].sum()
    for test, factor, way in ((harm, 1.0, sign), (margin, 1 + sign * 0.5, -sign)):
        ratio = (mine + factor * X.sum()) / (N.sum() + mine_n)
        assert test.counts is None
        assert math.isclose(test.test.score.value, way * (mine - ratio * mine_n))
        assert test.test.information == 80.0


def test_strata_that_lack_an_arm_add_rows_but_no_difference() -> None:
    """Where stable has no row it has no mean."""
    lone = [Pair(candidate=counted(7, 3)), Pair(), Pair(stable=counted(1, 1), candidate=counted(1, 0))]
    found = SUMS.add(lone)
    assert math.isclose(found.information, SUMS.information + 0.5)
    assert math.isclose(found.difference, SUMS.difference - 0.5)
    assert math.isclose(found.level, SUMS.level + 0.5)
    assert (found.candidate.n, found.stable.n) == (108, 201)


def test_a_change_takes_the_place_of_what_the_cohort_was() -> None:
    before, now = (
        Cohort(stable=once(3, 20), candidate=once(2, 10)),
        Cohort(stable=once(30, 200), candidate=once(20, 100)),
    )
    begun = Sums().change([Change(now=before), OTHER])
    found = begun.change([Change(before=before, now=now)])
    wanted = Sums().change([Change(now=now), OTHER])
    for name in ("information", "difference", "level"):
        assert math.isclose(getattr(found, name), getattr(wanted, name))
    assert (found.stable.n, found.stable.total, found.candidate.n, found.candidate.total) == (400, 60, 200, 29)
