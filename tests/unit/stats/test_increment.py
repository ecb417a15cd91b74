"""How tests are asked about news: which arm counts, which null, and what estimates are made of."""

from __future__ import annotations

import dataclasses
import math
from functools import partial

import numpy as np
import pytest
from scipy.stats import binom

from sluicegate.flows.stats.counts import Draw, expected
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
def test_a_margin_is_sought_in_the_other_direction_with_the_odds_of_each_stratum(sign: int) -> None:
    sums = Sums().add(PAIRS)
    less = 2 * math.sqrt(sums.rate * (1 - sums.rate) / sums.n)
    odds = partial(odds_of_ratio, 1 / 1.5 if sign > 0 else 0.5, less=less)
    assert len({odds(draw) for draw in draws(PAIRS, -sign)}) == len(PAIRS)
    found = look_within_margin(CountTest(budget=BUDGET), NEWS, sign, 0.5, sums)
    wanted = CountTest(budget=BUDGET).look(draws(PAIRS, -sign, odds), 80.0)
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


def draw(size: int, others: int, events: int) -> Draw:
    return Draw(size=size, others=others, events=events, mine=0)


def test_the_odds_of_a_ratio_are_taken_at_the_end_that_makes_passing_harder() -> None:
    rate = 179 / 999 - 0.02
    for ratio in (1.5, 0.5, 1e-3):
        other = rate / (1 + (ratio - 1) * 0.4)
        assert math.isclose(odds_of_ratio(ratio, draw(400, 600, 180), 0.02), ratio * (1 - other) / (1 - ratio * other))
    assert odds_of_ratio(0.5, draw(400, 600, 180), 0.02) > odds_of_ratio(0.5, draw(400, 600, 180))
    assert odds_of_ratio(1.0, draw(400, 600, 180)) == 1
    for rare in (draw(0, 0, 0), draw(50, 50, 0), draw(50, 50, 1), draw(1, 0, 1)):
        assert odds_of_ratio(2.0, rare) == 2.0
        assert odds_of_ratio(1e-3, rare) == 1e-3
    everything = draw(50, 50, 100)
    assert math.isclose(odds_of_ratio(4.0, everything), 4 * (1 - 0.98 / 4) / (1 - 0.98))
    assert math.isclose(odds_of_ratio(0.9, everything), 0.9 * (1 - 0.98) / (1 - 0.9 * 0.98))


@pytest.mark.parametrize("ratio", [0.5, 0.8])
@pytest.mark.parametrize("rate", [0.005, 0.05, 0.2, 0.5])
@pytest.mark.parametrize(("size", "others"), [(10, 10), (3, 37), (37, 3), (60, 140)])
def test_the_events_expected_of_an_arm_are_right_on_average_at_every_rate(
    ratio: float, rate: float, size: int, others: int
) -> None:
    """Every number of events, enumerated: what is expected of the arm at the null is what its rate gives it."""
    events = np.convolve(*(binom.pmf(np.arange(n + 1), n, p) for n, p in ((size, ratio * rate), (others, rate))))
    draws = [draw(size, others, e) for e in range(size + others + 1)]
    at_null = [expected([dataclasses.replace(each, odds=odds_of_ratio(ratio, each))]) for each in draws]
    margin = abs(1 - ratio) * size * rate
    assert abs(float(events @ np.array(at_null)) - size * ratio * rate) < 0.01 * margin


@pytest.mark.parametrize("ratio", [0.5, 2.0, 3.0])
def test_the_odds_of_rare_events_are_their_ratio(ratio: float) -> None:
    """One event in two hundred rows: the lower end of the rate is 0, not below."""
    assert odds_of_ratio(ratio, draw(100, 100, 1), 0.01) == ratio


@pytest.mark.parametrize("sign", [1, -1])
def test_a_margin_of_means_is_judged_however_little_they_vary(sign: int) -> None:
    pair = Pair(stable=tally_of(np.array([0.1, 0.2, 0.4])), candidate=tally_of(np.array([0.15, 0.25])))
    found = look_within_margin(ScoreTest(budget=BUDGET), Increment(pairs=[pair], information=80.0), sign, 0.2, Sums())
    wanted = score([Pair(stable=pair.stable.scaled(1 + sign * 0.2), candidate=pair.candidate)])
    assert isinstance(found, ScoreTest)
    assert math.isclose(found.score.value, -sign * wanted.value)
