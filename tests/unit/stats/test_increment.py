"""How tests are asked about news: which arm counts, which null, and what estimates are made of."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sluicegate.flows.stats.counts import Draw
from sluicegate.flows.stats.increment import Increment, Sums, draws, look_for_harm, look_within_margin, odds_of_ratio
from sluicegate.flows.stats.pair import Pair
from sluicegate.flows.stats.populations import tally_of
from sluicegate.flows.stats.scores import score
from sluicegate.flows.stats.sequential import CountTest, ScoreTest
from sluicegate.flows.stats.spending import Budget
from sluicegate.registry.words.tally import Tally

BUDGET = Budget(alpha=0.05, information=100.0)


def counted(n: int, events: int) -> Tally:
    return Tally(n=n, total=events, squares=events, cubes=events)


PAIRS = [
    Pair(stable=counted(200, 30), candidate=counted(100, 20)), Pair(stable=counted(50, 5), candidate=counted(50, 9)),
]  # fmt: skip
NEWS = Increment(pairs=PAIRS, information=80.0)


def test_draws_count_the_arm_that_would_be_worse() -> None:
    assert draws(PAIRS, 1) == (
        Draw(size=100, others=200, mine=20, events=50), Draw(size=50, others=50, mine=9, events=14),
    )  # fmt: skip
    assert draws(PAIRS, -1) == (
        Draw(size=200, others=100, mine=30, events=50), Draw(size=50, others=50, mine=5, events=14),
    )  # fmt: skip


def test_sums_weigh_strata_by_their_information() -> None:
    one_armed = Pair(stable=counted(40, 40))
    found = Sums().add(PAIRS[:1]).add([PAIRS[1], one_armed])
    i = (200 * 100 / 300, 50 * 50 / 100)
    assert math.isclose(found.information, sum(i))
    assert math.isclose(found.difference, i[0] * (0.2 - 0.15) + i[1] * (0.18 - 0.1))
    assert math.isclose(found.level, i[0] * 0.15 + i[1] * 0.1)
    assert (found.stable, found.candidate) == (counted(290, 75), counted(150, 29))
    assert math.isclose(found.rate, 104 / 440)
    assert Sums().rate == 0.0


@pytest.mark.parametrize("sign", [1, -1])
def test_harm_of_counts_and_means_is_sought_in_its_direction(sign: int) -> None:
    counts = look_for_harm(CountTest(budget=BUDGET), NEWS, sign)
    assert isinstance(counts, CountTest)
    assert counts.observed == (29 if sign > 0 else 35)
    assert counts.information == 80.0
    means = look_for_harm(ScoreTest(budget=BUDGET), NEWS, sign)
    assert isinstance(means, ScoreTest)
    assert math.isclose(means.score.value, sign * score(PAIRS).value)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_margin_is_sought_in_the_other_direction_with_its_odds(sign: int) -> None:
    sums = Sums().add(PAIRS)
    odds = odds_of_ratio(1 + sign * 0.5, sums)
    found = look_within_margin(CountTest(budget=BUDGET), NEWS, sign, 0.5, sums)
    wanted = CountTest(budget=BUDGET).look(draws(PAIRS, -sign), 80.0, 1 / odds if sign > 0 else odds)
    assert isinstance(found, CountTest)
    assert (found.observed, found.expected, found.reach) == (wanted.observed, wanted.expected, wanted.reach)
    moved = Increment(pairs=PAIRS, information=80.0, at_margin={0.5: Increment(pairs=PAIRS[:1], information=80.0)})
    found = look_within_margin(CountTest(budget=BUDGET), moved, sign, 0.5, sums)
    wanted = CountTest(budget=BUDGET).look(draws(PAIRS[:1], -sign), 80.0)
    assert isinstance(found, CountTest)
    assert (found.observed, found.expected) == (wanted.observed, wanted.expected)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_margin_of_means_scales_stables_values(sign: int) -> None:
    pairs = [Pair(stable=tally_of(np.array([1.0, 2.0, 4.0])), candidate=tally_of(np.array([1.5, 2.5])))]
    same = Pair(stable=tally_of(np.full(5, 3.0)), candidate=tally_of(np.full(5, 3.0)))
    found = look_within_margin(
        ScoreTest(budget=BUDGET), Increment(pairs=[*pairs, same], information=80.0), sign, 0.2, Sums()
    )
    scaled = [Pair(stable=pairs[0].stable.scaled(1 + sign * 0.2), candidate=pairs[0].candidate)]
    assert isinstance(found, ScoreTest)
    assert math.isclose(found.score.value, -sign * score(scaled).value)
    assert math.isclose(found.score.randomisation, score(scaled).randomisation)


def test_the_odds_of_a_ratio_are_taken_at_the_end_that_makes_passing_harder() -> None:
    sums = Sums(stable=counted(600, 120), candidate=counted(400, 60))
    rate = 0.18 - 2 * math.sqrt(0.18 * 0.82 / 1000)
    for ratio in (1.5, 0.5, 1e-3):
        stable = rate / (1 + (ratio - 1) * 0.4)
        assert math.isclose(odds_of_ratio(ratio, sums), ratio * (1 - stable) / (1 - ratio * stable))
    assert odds_of_ratio(1, sums) == 1
    assert odds_of_ratio(-2.0, sums) == odds_of_ratio(0.0, sums) == odds_of_ratio(1e-3, sums)
    assert 0 < odds_of_ratio(-2.0, Sums(candidate=counted(50, 20))) < 1e-3
    assert odds_of_ratio(2.0, Sums()) == 2.0
    assert odds_of_ratio(0.0, Sums()) == 1e-3
    everything = Sums(stable=counted(50, 50), candidate=counted(50, 50))
    assert math.isclose(odds_of_ratio(4.0, everything), 4 * (1 - 0.98 / 4) / (1 - 0.98))
    assert math.isclose(odds_of_ratio(0.9, everything), 0.9 * (1 - 0.98) / (1 - 0.9 * 0.98))
    nothing = Sums(stable=counted(50, 0), candidate=counted(50, 0))
    assert odds_of_ratio(2.0, nothing) == 2.0


@pytest.mark.parametrize("ratio", [0.5, 2.0, 3.0])
def test_the_odds_of_rare_events_are_their_ratio(ratio: float) -> None:
    """One event in two hundred rows: the lower end of the rate is 0, not below."""
    assert odds_of_ratio(ratio, Sums(stable=counted(100, 1), candidate=counted(100, 0))) == ratio


def test_odds_of_twice_the_rate_are_more_than_twice() -> None:
    sums = Sums(stable=counted(600, 120), candidate=counted(400, 60))
    stable = (0.18 - 2 * math.sqrt(0.18 * 0.82 / 1000)) / 1.4
    assert math.isclose(odds_of_ratio(2.0, sums), 2 * (1 - stable) / (1 - 2 * stable))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_margin_of_means_is_judged_however_little_they_vary(sign: int) -> None:
    pair = Pair(stable=tally_of(np.array([0.1, 0.2, 0.4])), candidate=tally_of(np.array([0.15, 0.25])))
    found = look_within_margin(ScoreTest(budget=BUDGET), Increment(pairs=[pair], information=80.0), sign, 0.2, Sums())
    wanted = score([Pair(stable=pair.stable.scaled(1 + sign * 0.2), candidate=pair.candidate)])
    assert isinstance(found, ScoreTest)
    assert math.isclose(found.score.value, -sign * wanted.value)
