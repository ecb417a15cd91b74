"""The test of drift at single looks: its bounds by hand, counts against Fisher's law, units against the definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import nchypergeom_fisher

from sluicegate.flows.stats.cohorts import Change, Cohort, CohortTest
from sluicegate.flows.stats.drift import DriftTest, Side
from sluicegate.flows.stats.increment import Increment
from sluicegate.flows.stats.pair import Pair
from sluicegate.flows.stats.sequential import CountTest
from sluicegate.flows.stats.spending import Budget
from sluicegate.registry.words.tally import Tally, UnitSums

CANDIDATE, STABLE, ABOVE = 120, 280, 150
INFORMATION = CANDIDATE * STABLE / (CANDIDATE + STABLE)


def begin(*levels: float, tolerance: float = 0.1, by_cohort: bool = False) -> DriftTest:
    return DriftTest.begin(levels=levels, tolerance=tolerance, alpha=0.2, information=100.0, by_cohort=by_cohort)


def counted(n: int, above: int) -> Tally:
    return Tally(n=n, total=above, squares=above, cubes=above)


def news(candidate_above: int, information: float = INFORMATION) -> Increment:
    """`ABOVE` rows of both arms above the level, so many of them the candidate's."""
    pair = Pair(stable=counted(STABLE, ABOVE - candidate_above), candidate=counted(CANDIDATE, candidate_above))
    return Increment(pairs=[pair], information=information)


def test_every_level_is_bounded_on_both_sides_where_the_tolerance_leaves_room() -> None:
    found = [(side.level, side.share, side.bound, side.sign) for side in begin(0.1, 0.5, 0.9).sides]
    assert found == [
        (0.1, 0.9, 0.8, -1), (0.5, 0.5, 0.6, 1), (0.5, 0.5, 0.4, -1), (0.9, pytest.approx(0.1), 0.2, 1)
    ]  # fmt: skip
    assert [side.bound for side in begin(0.25, 0.5, tolerance=0.3).sides] == [0.45, 0.8, 0.2]


@pytest.mark.parametrize(
    ("share", "bound", "odds"),
    [(0.5, 0.6, 1.5), (0.5, 0.4, 1.5), (0.1, 0.3, 27 / 7), (0.3, 0.1, 27 / 7), (0.9, 0.8, 9 / 4)],
)
def test_odds_are_those_of_the_bound_against_the_share(share: float, bound: float, odds: float) -> None:
    assert math.isclose(Side(level=1 - share, share=share, bound=bound).odds, odds)


@pytest.mark.parametrize(("levels", "sides"), [((0.5,), 2), ((0.1,), 1), ((0.25, 0.5, 0.9), 5)])
def test_sides_share_alpha_evenly(levels: tuple[float, ...], sides: int) -> None:
    test = begin(*levels)
    assert [each.budget for each in test.tests if isinstance(each, CountTest)] == [
        Budget(alpha=0.2 / sides, information=100.0, reserve=0.1)
    ] * sides


def test_without_a_level_nothing_is_tested() -> None:
    test = begin().look({})
    assert (test.looks, test.found_at, test.spent, test.drifted) == (1, None, 0, ())


@pytest.mark.parametrize(("sign", "size", "others"), [(1, CANDIDATE, STABLE), (-1, STABLE, CANDIDATE)])
def test_a_side_is_found_from_the_count_whose_tail_under_fishers_law_fits(sign: int, size: int, others: int) -> None:
    """At the median, 10 % tolerated: odds of 1.5 for the arm that would have more above it."""
    room = Budget(alpha=0.1, information=100.0, reserve=0.1).spent(INFORMATION)
    law = nchypergeom_fisher(size + others, size, ABOVE, 1.5)
    least = next(k for k in range(size) if law.sf(k - 1) <= room)
    found, missed = (begin(0.5).look({0.5: news(k if sign > 0 else ABOVE - k)}) for k in (least, least - 1))
    assert [side.sign for side in found.drifted] == [sign]
    assert found.found_at == found.looks == 1
    assert (missed.drifted, missed.found_at, missed.looks) == ((), None, 1)
    assert found.spent <= 2 * room
    spent = [each.spent for each, side in zip(found.tests, found.sides, strict=True) if side.sign == sign]
    assert spent == pytest.approx([law.sf(least - 1)], rel=1e-6)


def test_what_was_found_stays_found_at_its_look() -> None:
    quiet, loud = news(45), news(100, 2 * INFORMATION)
    test = begin(0.5).look({0.5: quiet}).look({0.5: loud})
    assert (test.looks, test.found_at) == (2, 2)
    later = test.look({0.5: news(20, 3 * INFORMATION)})
    assert (later.looks, later.found_at) == (3, 2)
    assert later.drifted == test.drifted


def test_each_side_hears_of_its_own_level() -> None:
    test = begin(0.25, 0.5).look({0.25: news(45), 0.5: news(100)})
    assert {side.level for side in test.drifted} == {0.5}


N = np.array([4.0, 2.0, 3.0, 1.0, 2.0, 5.0, 1.0, 4.0])
X = np.array([1.0, 2.0, 0.0, 1.0, 2.0, 3.0, 0.0, 4.0])
MINE = np.arange(8) % 2 == 0


def units(x: np.ndarray, n: np.ndarray) -> UnitSums:
    return UnitSums(
        size=x.size, x=x.sum(), n=n.sum(), xx=x @ x, xn=x @ n, nn=n @ n, xxx=(x**3).sum(), xxn=(x * x * n).sum(),
        xnn=(x * n * n).sum(), nnn=(n**3).sum(),
    )  # fmt: skip


def returning() -> Increment:
    now = Cohort(stable=units(X[~MINE], N[~MINE]), candidate=units(X[MINE], N[MINE]))
    return Increment(information=4.0, changes=[Change(now=now)])


@pytest.mark.parametrize("level", [0.5, 0.75])
def test_units_are_scored_against_the_share_at_the_bound(level: float) -> None:
    """Stable's units scaled to the tolerated share, each less its rows at the share of both arms; by definition."""
    test = begin(level, by_cohort=True).look({level: returning()})
    for side, each in zip(test.sides, test.tests, strict=True):
        factor = (1 - level + 0.1 * side.sign) / (1 - level)
        scaled = np.where(MINE, X, X * factor)
        rest = scaled - scaled.sum() / N.sum() * N
        assert isinstance(each, CohortTest)
        assert each.counts is None
        assert math.isclose(each.test.score.value, side.sign * rest[MINE].sum())
        assert math.isclose(each.test.score.randomisation, 4 * 4 / (8 * 7) * (rest @ rest))


def test_units_that_have_not_returned_are_counted() -> None:
    ones = [np.repeat([1.0, 0.0], [k, n - k]) for k, n in ((100, CANDIDATE), (ABOVE - 100, STABLE))]
    candidate, stable = (units(x, np.ones(x.size)) for x in ones)
    change = Change(now=Cohort(stable=stable, candidate=candidate))
    by_cohort = begin(0.5, by_cohort=True).look({
        0.5: Increment(information=INFORMATION, changes=[change])
    })  # fmt: skip
    by_row = begin(0.5).look({0.5: news(100)})
    assert [(t.rejected, t.reach, t.spent) for t in by_cohort.tests] == [
        (t.rejected, t.reach, t.spent) for t in by_row.tests
    ]
    assert by_cohort.found_at == 1
    assert [side.sign for side in by_cohort.drifted] == [1]
