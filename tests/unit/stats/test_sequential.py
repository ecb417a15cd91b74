"""Tests look by look: what is kept, what is spent, from where they reject."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import hypergeom, norm

from sluicegate.flows.stats.counts import Draw, expected
from sluicegate.flows.stats.scores import Score
from sluicegate.flows.stats.sequential import CountTest, ScoreTest
from sluicegate.flows.stats.spending import Budget

BUDGET = Budget(alpha=0.05, information=100.0)


def test_counts_are_rejected_from_the_value_whose_tail_fits() -> None:
    law, room = hypergeom(150, 60, 50), BUDGET.spent(40.0)
    critical = next(k for k in range(51) if law.sf(k - 1) <= room)
    for mine, off in ((critical, True), (critical - 1, False)):
        draw = Draw(size=50, others=100, events=60, mine=mine)
        test = CountTest(budget=BUDGET).look([draw], 40.0)
        assert test.rejected is off
        assert test.observed == mine
        assert test.expected == expected([draw]) == pytest.approx(20.0)
        assert test.reach == pytest.approx(critical - 20.0)
        assert test.spent == pytest.approx(law.sf(critical - 1))
        assert test.information == 40.0


def test_counts_add_over_looks_and_a_rejection_stays() -> None:
    first = CountTest(budget=BUDGET).look([Draw(size=50, others=50, events=30, mine=30)], 20.0)
    assert first.rejected
    second = first.look([Draw(size=50, others=50, events=30, mine=0)], 40.0)
    assert (second.observed, second.rejected) == (30, True)
    assert second.expected == pytest.approx(30.0)
    held = first.look([Draw(size=50, others=50, events=30, mine=1)], 20.0)
    assert (held.information, held.spent, held.reach) == (20.0, first.spent, first.reach)


def test_where_nothing_can_be_rejected_there_is_no_reach() -> None:
    poor = Budget(alpha=1e-12, information=100.0)
    test = CountTest(budget=poor).look([Draw(size=50, others=50, events=30, mine=30)], 20.0)
    assert (test.reach, test.rejected) == (None, False)


def test_scores_are_rejected_from_the_quantile_of_what_may_be_spent() -> None:
    z = float(norm.isf(BUDGET.spent(40.0)))
    for times, off in ((1.02, True), (0.98, False)):
        test = ScoreTest(budget=BUDGET).look(Score(value=times * z * 3.0, randomisation=9.0), 40.0)
        assert test.rejected is off
        assert test.reach == pytest.approx(3.0 * z, rel=5e-3)
        assert test.spent == pytest.approx(BUDGET.spent(40.0))
        assert (test.variance, test.information) == (9.0, 40.0)


def test_exactly_at_the_reach_is_a_rejection() -> None:
    reach = ScoreTest(budget=BUDGET).look(Score(value=0.0, randomisation=9.0), 40.0).reach
    assert reach is not None
    assert ScoreTest(budget=BUDGET).look(Score(value=reach, randomisation=9.0), 40.0).rejected


def test_scores_add_and_their_variance_never_shrinks() -> None:
    test = ScoreTest(budget=BUDGET).look(Score(value=1.0, randomisation=9.0), 20.0)
    more = test.look(Score(value=2.0, randomisation=-4.0), 30.0)
    assert (more.score.value, more.score.variance, more.variance) == (3.0, 5.0, 9.0)
    assert more.information == 30.0
    held = test.look(Score(value=99.0, randomisation=1.0), 20.0)
    assert held.reach == test.reach
    assert (held.rejected, held.spent, held.information, held.variance) == (False, test.spent, 20.0, 10.0)
    assert held.look(Score(randomisation=1.0), 21.0).rejected


@pytest.mark.parametrize(("third", "held"), [(2.01, True), (2.0, False), (-2.01, True), (-2.0, False)])
def test_while_the_score_is_too_skewed_nothing_is_cut(third: float, held: bool) -> None:
    test = ScoreTest(budget=BUDGET).look(Score(value=50.0, randomisation=1.0, third=third), 40.0)
    assert test.rejected is not held
    assert (test.spent == 0) is held
    assert test.variance == 1.0
    assert test.lattice.masses.size > 1
    later = test.look(Score(randomisation=99.0), 50.0)
    assert later.spent > 0
    assert math.isclose(later.score.value, 50.0)


def test_the_lattice_spreads_by_what_the_variance_grew() -> None:
    test = ScoreTest(budget=Budget(alpha=1e-12, information=100.0)).look(Score(randomisation=9.0), 20.0)
    lattice = test.look(Score(randomisation=16.0), 30.0).lattice
    values = lattice.origin + lattice.pitch * np.arange(lattice.masses.size)
    assert float(values**2 @ lattice.masses) == pytest.approx(25.0, rel=1e-3)


def test_a_score_that_was_rejected_stays_so() -> None:
    test = ScoreTest(budget=BUDGET).look(Score(value=50.0, randomisation=9.0), 40.0)
    assert test.look(Score(value=-80.0, randomisation=9.0), 50.0).rejected
