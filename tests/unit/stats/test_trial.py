from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.flows.stats.cohorts import CohortTest
from sluicegate.flows.stats.evidence import score_e_value
from sluicegate.flows.stats.increment import Increment, Sums
from sluicegate.flows.stats.intervals import estimate
from sluicegate.flows.stats.pair import Pair
from sluicegate.flows.stats.populations import Durations, Events, Losses, split, tally_of
from sluicegate.flows.stats.scores import Score, score
from sluicegate.flows.stats.sequential import CountTest, ScoreTest
from sluicegate.flows.stats.spending import Budget, early_and_late, evenly
from sluicegate.flows.stats.trial import Design, Kind, Rung, Trial
from sluicegate.registry.words.tally import Tally


def counted(n: int, events: int) -> Tally:
    return Tally(n=n, total=events, squares=events, cubes=events)


def asked(kind: Kind, *margins: float, higher: bool = True) -> Trial:
    return Trial.begin(
        Design(
            kind=kind, worse_is_higher=higher, alpha=0.05, beta=0.05, information=2500.0,
            rungs=tuple(Rung(margin=m, information=2500.0) for m in margins),
        )
    )  # fmt: skip


def watched(trial: Trial, pairs: list[Pair]) -> Trial:
    information = 0.0
    for pair in pairs:
        information += pair.information
        trial = trial.look(Increment(pairs=[pair], information=information))
    return trial


def test_the_score_is_that_of_all_labelings() -> None:
    """Mean, variance and third cumulant over every assignment of labels, enumerated."""
    values = np.array([0.1, 0.4, 0.4, 1.3, 2.0, 5.0, 0.0])
    scores = []
    for chosen in itertools.combinations(range(7), 2):
        mask = np.isin(np.arange(7), chosen)
        found = score([Pair(stable=tally_of(values[~mask]), candidate=tally_of(values[mask]))])
        scores.append(found.value)
    assert math.isclose(np.mean(scores), 0.0, abs_tol=1e-12)
    assert math.isclose(np.var(scores), found.randomisation)
    assert math.isclose(np.mean(np.array(scores) ** 3), found.third)


@pytest.mark.parametrize(
    "pair",
    [
        Pair(stable=tally_of(np.array([1.0, 2.0]))),
        Pair(candidate=tally_of(np.array([1.0, 2.0]))),
        Pair(stable=tally_of(np.full(50, 3.0)), candidate=tally_of(np.full(50, 3.0))),
    ],
)
def test_an_empty_arm_or_no_variance_holds(pair: Pair) -> None:
    trial = asked(Kind.MEAN, 0.0, 0.1).look(Increment(pairs=[pair], information=100.0))
    assert trial.failed_at is None
    assert trial.ruled_out(0.1) is None


def test_a_single_row_does_no_harm() -> None:
    one = Pair(stable=tally_of(np.array([1.0])), candidate=tally_of(np.array([9.0])))
    assert watched(asked(Kind.MEAN, 0.0), [one]).failed_at is None


def test_harm_and_margins_are_found_where_they_are() -> None:
    rng = np.random.default_rng(1)
    worse = [split(rng, 200, 0.5, Losses(mean=0.5, sd=0.4), Losses(mean=0.6, sd=0.4)) for _ in range(40)]
    better = [split(rng, 200, 0.5, Losses(mean=0.5, sd=0.4), Losses(mean=0.4, sd=0.4)) for _ in range(40)]
    assert watched(asked(Kind.MEAN, 0.05), worse).failed_at
    assert watched(asked(Kind.MEAN, 0.05), worse).ruled_out(0.05) is None
    assert watched(asked(Kind.MEAN, 0.05), better).ruled_out(0.05)
    assert watched(asked(Kind.MEAN, 0.05, higher=False), better).failed_at


def test_lower_is_worse_mirrors_higher_is_worse() -> None:
    rng = np.random.default_rng(2)
    pairs = [split(rng, 200, 0.3, Events(rate=0.2), Events(rate=0.26)) for _ in range(40)]
    flipped = [
        Pair(
            stable=counted(p.stable.n, p.stable.n - int(p.stable.total)),
            candidate=counted(p.candidate.n, p.candidate.n - int(p.candidate.total)),
        )
        for p in pairs
    ]
    assert watched(asked(Kind.COUNT), pairs).failed_at == watched(asked(Kind.COUNT, higher=False), flipped).failed_at


def test_a_margin_that_was_ruled_out_stays_ruled_out_and_so_do_wider_ones() -> None:
    rng = np.random.default_rng(3)
    good = [split(rng, 200, 0.5, Events(rate=0.2), Events(rate=0.1)) for _ in range(20)]
    bad = [split(rng, 200, 0.5, Events(rate=0.1), Events(rate=0.4)) for _ in range(20)]
    trial = watched(asked(Kind.COUNT, 0.5, 0.2, 0.0), good + bad)
    first = trial.ruled_out(0.2)
    assert first is not None
    assert first <= 20
    assert (trial.ruled_out(0.5) or 99) <= first
    assert trial.failed_at is None or trial.failed_at > 20


def test_the_interval_decides_as_the_tests_do() -> None:
    rng = np.random.default_rng(4)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        trial, information = asked(Kind.MEAN, 0.1, 0.0), 0.0
        for _ in range(30):
            pair = split(rng, 200, 0.5, Durations(mean=1, sigma=0.7), Durations(mean=1.05, sigma=0.7))
            information += pair.information
            before, trial = trial, trial.look(Increment(pairs=[pair], information=information))
            seen = estimate(trial, 0.1)
            if before.failed_at is None and seen.low is not None:
                assert (seen.low >= 0) == (trial.failed_at is not None)


@given(st.permutations(range(6)))
@settings(max_examples=20, deadline=None)
def test_the_order_of_strata_within_a_look_does_not_matter(order: list[int]) -> None:
    rng = np.random.default_rng(5)
    pairs = [split(rng, 60, 0.3, Losses(mean=0.5, sd=0.4), Losses(mean=0.5, sd=0.4)) for _ in range(6)]
    one = asked(Kind.MEAN, 0.1).look(Increment(pairs=pairs, information=70.0))
    other = asked(Kind.MEAN, 0.1).look(Increment(pairs=[pairs[i] for i in order], information=70.0))
    assert math.isclose(one.harm.spent, other.harm.spent)
    assert one.harm.reach is not None
    assert other.harm.reach is not None
    assert math.isclose(one.harm.reach, other.harm.reach, rel_tol=1e-9)


def test_an_e_value_grows_with_harm_and_is_small_without() -> None:
    rng = np.random.default_rng(6)
    same = [split(rng, 400, 0.5, Events(rate=0.1), Events(rate=0.1)) for _ in range(20)]
    worse = [split(rng, 400, 0.5, Events(rate=0.1), Events(rate=0.15)) for _ in range(20)]
    assert watched(asked(Kind.COUNT), same).e_value < 20 < watched(asked(Kind.COUNT), worse).e_value
    means = [split(rng, 400, 0.5, Losses(mean=0.5, sd=0.4), Losses(mean=0.6, sd=0.4)) for _ in range(20)]
    assert watched(asked(Kind.MEAN), means).e_value > 20


@pytest.mark.parametrize("kind", list(Kind))
def test_harm_and_margins_have_budgets_of_their_own(kind: Kind) -> None:
    design = Design(
        kind=kind, alpha=0.03, beta=0.04, information=2500.0, reserve=0.2,
        rungs=(Rung(margin=0.5, information=700.0), Rung(margin=0.0, information=2500.0)),
    )  # fmt: skip
    trial = Trial.begin(design)
    assert budgets(trial) == [
        Budget(alpha=0.03, information=2500.0, reserve=0.2, shape=early_and_late),
        Budget.of_events(0.04)
        if kind is Kind.COUNT
        else Budget(alpha=0.04, information=700.0, reserve=0.2, shape=evenly),
        Budget(alpha=0.04, information=2500.0, reserve=0.2, shape=early_and_late),
    ]
    moved = Trial.begin(dataclasses.replace(design, moves_threshold=True))
    assert budgets(moved)[1] == Budget(alpha=0.04, information=700.0, reserve=0.2, shape=evenly)


def budgets(trial: Trial) -> list[Budget]:
    return [test.budget for test in (trial.harm, *trial.margins) if not isinstance(test, CohortTest)]


def test_when_a_margin_of_events_is_ruled_out_does_not_depend_on_the_plan() -> None:
    rng = np.random.default_rng(8)
    pairs = [split(rng, 500, 0.2, Events(rate=0.05), Events(rate=0.05)) for _ in range(60)]
    designs = [dataclasses.replace(asked(Kind.COUNT, 1.0, 0.5).design, information=planned) for planned in (50, 50_000)]
    few, many = (watched(Trial.begin(design), pairs) for design in designs)
    assert few.ruled_out_at == many.ruled_out_at
    assert None not in few.ruled_out_at
    assert few.harm.spent > many.harm.spent


def test_a_margin_ruled_out_is_asked_no_more_and_superiority_always_is() -> None:
    pairs = [Pair(stable=counted(200, 60), candidate=counted(200, 10)) for _ in range(3)]
    once = watched(asked(Kind.COUNT, 0.5, 0.0), pairs[:1])
    assert [test.rejected for test in once.margins] == [True, True]
    more = watched(asked(Kind.COUNT, 0.5, 0.0), pairs)
    first, wide, least = once.margins[0], *more.margins
    assert isinstance(first, CountTest)
    assert isinstance(wide, CountTest)
    assert isinstance(least, CountTest)
    assert (wide.divergence, least.information) == (first.divergence, 300.0)
    assert more.ruled_out_at == (1, 1)
    assert more.looks == 3


@pytest.mark.parametrize("kind", [Kind.COUNT, Kind.MEAN])
def test_cohorts_are_counted_where_values_are_zeros_and_ones(kind: Kind) -> None:
    design = dataclasses.replace(asked(kind).design, by_cohort=True)
    harm = Trial.begin(design).harm
    assert isinstance(harm, CohortTest)
    assert (harm.counts is not None) is (kind is Kind.COUNT)


def test_harm_is_dated_by_its_first_look_and_evidence_is_of_counts() -> None:
    bad = [Pair(stable=counted(200, 10), candidate=counted(200, 60)) for _ in range(3)]
    trial = watched(asked(Kind.COUNT), bad)
    assert trial.failed_at == 1
    assert trial.ruled_out(0.5) is None
    assert trial.e_value == trial.evidence.value > 1
    assert watched(asked(Kind.MEAN), bad).evidence.value == 1


def test_the_e_value_of_a_score_is_tuned_to_the_planned_end() -> None:
    trial = asked(Kind.MEAN)
    assert trial.e_value == 1.0
    total = Score(value=7.0, randomisation=9.0)
    harm = ScoreTest(budget=Budget(alpha=0.05, information=2500.0), score=total)
    seen = dataclasses.replace(trial, harm=harm, sums=Sums(information=500.0))
    assert seen.e_value == score_e_value(7.0, 9.0, 9.0 * 2500 / 500)


def test_the_first_look_that_ruled_out_a_margin_or_a_smaller_one_is_told() -> None:
    trial = dataclasses.replace(asked(Kind.COUNT, 0.5, 0.2, 0.1), ruled_out_at=(4, 2, None))
    assert [trial.ruled_out(margin) for margin in (0.7, 0.5, 0.3, 0.2, 0.15)] == [2, 2, 2, 2, None]


def test_higher_is_worse_unless_said_otherwise() -> None:
    design = Design(kind=Kind.MEAN, alpha=0.05, beta=0.05, information=1.0)
    assert design.sign == 1
    assert dataclasses.replace(design, worse_is_higher=False).sign == -1
