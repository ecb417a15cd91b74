"""Cohorts: the sums say the same as the units themselves."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from sluicegate.flows.stats.cohorts import Change, Cohort, CohortTest
from sluicegate.flows.stats.counts import Draw
from sluicegate.flows.stats.increment import Increment, Sums
from sluicegate.flows.stats.scores import Score
from sluicegate.flows.stats.sequential import CountTest
from sluicegate.flows.stats.spending import Budget
from sluicegate.flows.stats.trial import Design, Kind, Rung, Trial
from sluicegate.registry.words.tally import Tally, UnitSums

X = np.array([0.0, 3.0, 1.0, 4.0, 0.5, 2.0])
N = np.array([1.0, 4.0, 1.0, 2.0, 3.0, 5.0])
BUDGET = Budget(alpha=0.05, information=1000.0)


def sums(x: np.ndarray, n: np.ndarray) -> UnitSums:
    return UnitSums(
        size=x.size, x=x.sum(), n=n.sum(), xx=(x * x).sum(), xn=(x * n).sum(), nn=(n * n).sum(),
        xxx=(x**3).sum(), xxn=(x * x * n).sum(), xnn=(x * n * n).sum(), nnn=(n**3).sum(),
    )  # fmt: skip


def cohort(mask: np.ndarray, x: np.ndarray = X, n: np.ndarray = N) -> Cohort:
    return Cohort(stable=sums(x[~mask], n[~mask]), candidate=sums(x[mask], n[mask]))


def same(score: Score, other: Score) -> bool:
    pairs = zip(
        (score.value, score.randomisation, score.welch, score.third),
        (other.value, other.randomisation, other.welch, other.third), strict=True,
    )  # fmt: skip
    return all(math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9) for a, b in pairs)


def test_the_score_is_that_of_all_labelings_of_units() -> None:
    """Mean, variance and third cumulant over every choice of the candidate's units, enumerated."""
    values = []
    for chosen in itertools.combinations(range(6), 2):
        mask = np.isin(np.arange(6), chosen)
        found = Change(now=cohort(mask)).score()
        values.append(found.value)
        ratio = X.sum() / N.sum()
        assert math.isclose(found.value, (X - ratio * N)[mask].sum(), abs_tol=1e-12)
    assert math.isclose(np.mean(values), 0.0, abs_tol=1e-12)
    assert math.isclose(np.var(values), found.randomisation)
    assert math.isclose(np.mean(np.array(values) ** 3), found.third)


def test_a_factor_scales_stables_values() -> None:
    mask = np.array([1, 0, 0, 0, 0, 1], dtype=bool)
    scaled = np.where(mask, X, 1.5 * X)
    assert same(Change(now=cohort(mask)).score(1.5), Change(now=cohort(mask, scaled)).score())


def test_a_change_adds_what_is_new() -> None:
    mask = np.array([1, 0, 1, 0, 0, 1], dtype=bool)
    before, now = cohort(mask), cohort(mask, 2 * X + 1, N + 2)
    both = Change(now=before).score(1.2) + Change(before=before, now=now).score(1.2)
    assert same(both, Change(now=now).score(1.2))
    rows = Change(before=before, now=now).rows
    assert rows.candidate.n == 2 * mask.sum()
    assert math.isclose(rows.stable.total, (X + 1)[~mask].sum())


@pytest.mark.parametrize("factor", [1.0, 1.5, 2.0, 0.0])
def test_units_that_are_all_alike_hold_where_the_null_is_another(factor: float) -> None:
    mask = np.array([1, 0, 1, 0], dtype=bool)
    alike = cohort(mask, np.full(4, 2.0), np.full(4, 2.0))
    assert same(Change(now=alike).score(factor), Score())


def test_units_that_differ_by_little_are_judged_all_the_same() -> None:
    mask = np.array([1, 0, 0, 0, 0, 1], dtype=bool)
    found, whole = Change(now=cohort(mask, X / 100)).score(1.5), Change(now=cohort(mask)).score(1.5)
    assert found.value == pytest.approx(whole.value / 100)
    assert found.variance == pytest.approx(whole.variance / 1e4)


def test_an_empty_cohort_is_nothing() -> None:
    assert same(Change(now=Cohort()).score(), Score())
    assert same(Change(now=Cohort(candidate=sums(X, N))).score(), Score())


@pytest.mark.parametrize(("n", "returned"), [((1, 1, 1), False), ((1, 0, 1), False), ((1, 2, 0), True)])
def test_a_unit_has_returned_when_it_has_two_rows(n: tuple[int, ...], returned: bool) -> None:
    arm = sums(np.zeros(3), np.array(n, dtype=float))
    assert Cohort(candidate=arm).has_returned is returned
    assert Cohort(stable=arm).has_returned is returned


def once(events: int, rows: int) -> UnitSums:
    x = np.zeros(rows)
    x[:events] = 1
    return sums(x, np.ones(rows))


def test_until_a_unit_returns_events_are_counted_exactly() -> None:
    draw = Draw(size=200, others=200, mine=30, events=35)
    change = Change(now=Cohort(stable=once(5, 200), candidate=once(30, 200)))
    exact = CountTest(budget=BUDGET).look([draw], 100.0)
    test = CohortTest.begin(BUDGET, counts=True).look([change], 100.0, [draw], against=1)
    assert exact.rejected
    assert (test.rejected, test.reach, test.spent) == (exact.rejected, exact.reach, exact.spent)
    far = replace(draw, odds=30.0)
    assert not CohortTest.begin(BUDGET, counts=True).look([change], 100.0, [far], against=1).rejected


def test_once_a_unit_returned_the_score_goes_on_with_what_is_left() -> None:
    rng = np.random.default_rng(1)
    first = Cohort(stable=once(20, 200), candidate=once(20, 200))
    draw = Draw(size=200, others=200, mine=20, events=40)
    test = CohortTest.begin(BUDGET, counts=True).look([Change(now=first)], 100.0, [draw], against=1)
    assert test.counts is not None
    spent = test.spent
    assert spent > 0
    x, n = rng.binomial(3, 0.1, 200).astype(float), np.full(200, 3.0)
    second = Cohort(stable=sums(x, n), candidate=sums(x, n))
    more = test.look([Change(before=first, now=second)], 150.0, (), against=1)
    assert more.counts is None
    assert math.isclose(more.spent, BUDGET.spent(150.0))
    assert math.isclose(more.test.lattice.masses.sum(), 1 - (more.spent - spent), rel_tol=1e-9)
    assert same(more.test.score, Change(now=second).score())
    assert more.test.information == 150.0
    assert more.reach == more.test.reach
    assert not more.rejected


@pytest.mark.parametrize("against", [1, -1])
def test_after_many_looks_the_test_has_the_score_of_everything(against: int) -> None:
    mask = np.array([1, 0, 0, 0, 0, 1], dtype=bool)
    grown = [Cohort(), cohort(mask), cohort(mask, X + 1, N + 1), cohort(mask, X + 5, N + 2), cohort(mask, 3 * X, N + 9)]
    test = CohortTest.begin(BUDGET, counts=False)
    for look, (before, now) in enumerate(itertools.pairwise(grown), start=1):
        test = test.look([Change(before=before, now=now)], 10.0 * look, (), against=against)
    wanted = Change(now=grown[-1]).score()
    assert same(test.test.score, wanted if against > 0 else -wanted)
    assert same(test.score, test.test.score)


def test_what_the_counts_rejected_stays_rejected() -> None:
    first = Cohort(stable=once(2, 200), candidate=once(40, 200))
    test = CohortTest.begin(BUDGET, counts=True).look(
        [Change(now=first)], 100.0, [Draw(size=200, others=200, mine=40, events=42)], against=1
    )
    later = Cohort(stable=sums(np.ones(200), np.full(200, 2.0)), candidate=first.candidate)
    assert test.look([Change(before=first, now=later)], 100.0, (), against=1).rejected


def trial(kind: Kind, *margins: float, higher: bool = True, moved: bool = False) -> Trial:
    return Trial.begin(
        Design(
            kind=kind, worse_is_higher=higher, alpha=0.05, beta=0.05, information=1000.0, by_cohort=True,
            moves_threshold=moved,
            rungs=tuple(Rung(margin=m, information=1000.0) for m in margins),
        )
    )  # fmt: skip


def users(seed: int, stable: float, candidate: float) -> Cohort:
    """300 units an arm, whose rates differ, with one to six rows each."""
    rng = np.random.default_rng(seed)

    def arm(rate: float) -> UnitSums:
        n = rng.integers(1, 7, 300)
        x = rng.binomial(n, np.minimum(rng.beta(1, 1 / rate - 1, 300), 1.0))
        return sums(x.astype(float), n.astype(float))

    return Cohort(stable=arm(stable), candidate=arm(candidate))


@pytest.mark.parametrize("kind", [Kind.COUNT, Kind.MEAN])
def test_harm_and_margins_are_found_where_they_are(kind: Kind) -> None:
    worse = Increment(information=500.0, changes=[Change(now=users(1, 0.2, 0.4))])
    equal = Increment(information=500.0, changes=[Change(now=users(2, 0.2, 0.2))])
    assert trial(kind, 0.5).look(worse).failed_at == 1
    assert trial(kind, 0.5).look(worse).ruled_out(0.5) is None
    assert trial(kind, 0.5, higher=False).look(worse).failed_at is None
    assert trial(kind, 0.5, higher=False).look(worse).ruled_out(0.5) == 1
    assert trial(kind, 0.5).look(equal).failed_at is None
    assert trial(kind, 1.0).look(equal).ruled_out(1.0) == 1
    assert trial(kind).look(worse).e_value > 20 > trial(kind).look(equal).e_value


def test_a_moved_threshold_is_judged_by_unit() -> None:
    moved = Increment(information=500.0, changes=[Change(now=users(3, 0.3, 0.1))])
    news = Increment(information=500.0, changes=[Change(now=users(3, 0.3, 0.4))], at_margin={0.2: moved})
    assert trial(Kind.COUNT, 0.2, moved=True).look(news).ruled_out(0.2) == 1
    assert trial(Kind.COUNT, 0.2, higher=False, moved=True).look(news).ruled_out(0.2) is None


def test_sums_are_those_of_the_cohorts_as_they_are_now() -> None:
    mask = np.array([1, 0, 1, 0, 0, 1], dtype=bool)
    before, now = cohort(mask), cohort(mask, 2 * X, N + 1)
    found = Sums().change([Change(now=before)]).change([Change(before=before, now=now)])
    n1, n0 = (N + 1)[mask].sum(), (N + 1)[~mask].sum()
    mean1, mean0 = 2 * X[mask].sum() / n1, 2 * X[~mask].sum() / n0
    assert math.isclose(found.information, n1 * n0 / (n1 + n0))
    assert math.isclose(found.difference, found.information * (mean1 - mean0))
    assert math.isclose(found.level, found.information * mean0)
    assert found.candidate == Tally(n=round(n1), total=2 * X[mask].sum())
    assert found.stable.n == round(n0)
