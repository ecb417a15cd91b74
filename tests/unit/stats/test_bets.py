"""Bets: the cubic below the logarithm, by its definition; strata in one look or in many; what is lacking."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.flows.stats.bets import OF_HARM, BetTest, Bounds, _cubic, _moments
from sluicegate.flows.stats.pair import Pair
from sluicegate.flows.stats.spending import Budget
from sluicegate.registry.words.tally import Tally


def begin(low: float = 0.0, high: float = 10.0) -> BetTest:
    return BetTest(budget=Budget(alpha=0.05, information=2_000), bounds=Bounds(low, high), ladder=OF_HARM)


def strata(shift: float, *, seed: int = 1) -> list[Pair]:
    rng = np.random.default_rng(seed)
    return [
        Pair(
            stable=Tally.from_values(rng.gamma(4, 0.25, 100)),
            candidate=Tally.from_values(rng.gamma(4, 0.25, 100) + shift),
        )
        for _ in range(20)
    ]  # fmt: skip


@given(u=st.floats(1e-6, 0.9), v=st.one_of(st.floats(1e-6, 1e4), st.just(np.inf)))
def test_the_cubic_lies_below_the_logarithm(u: float, v: float) -> None:
    second, third = _cubic(u, v)
    x = np.concatenate((np.linspace(-u, 0, 500), np.geomspace(1e-9, min(v, 1e6), 500)))
    x = x[x <= v]
    assert np.all(np.log1p(x) - (x - second * x**2 + third * x**3) >= -1e-12 * (1 + np.abs(third * x**3)))


def test_moments_about_a_centre() -> None:
    values = np.array([1.0, 2.5, 4.0])
    sums = _moments(Tally.from_values(values), 2.0)
    assert sums == pytest.approx([((values - 2) ** k).sum() for k in (1, 2, 3)])


@pytest.mark.parametrize(("shift", "is_found"), [(0.2, True), (0.0, False), (-0.2, False)])
def test_harm_is_found_and_nothing_else(shift: float, is_found: bool) -> None:
    test = begin().look(strata(shift), 1_000, against=1)
    assert test.rejected is is_found
    assert test.reach is not None
    assert (test.reach <= 0) is is_found
    assert (test.e_value >= 20) is is_found


def test_looks_between_strata_change_nothing() -> None:
    at_once = begin().look(strata(0.1), 1_000, against=1)
    one_by_one = begin()
    for k, pair in enumerate(strata(0.1), start=1):
        one_by_one = one_by_one.look([pair], 50.0 * k, against=1)
    assert one_by_one.logs == pytest.approx(at_once.logs)


def test_an_arm_without_rows_tells_nothing() -> None:
    test = begin().look([Pair(stable=Tally.from_values([1.0, 2.0]))], 10, against=1)
    assert (test.logs, test.rejected, test.reach) == ((), False, None)


def test_without_more_information_nothing_is_rejected() -> None:
    assert not begin().look(strata(0.5), 0.0, against=1).rejected


def test_what_lies_far_from_zero_is_compared_as_well_as_what_lies_near() -> None:
    near = begin(-10.0, 10.0).look(strata(0.1), 1_000, against=1)
    moved = [
        replace(pair, **{
            arm: Tally(t.n, 0, t.total + 1e3 * t.n, t.squares + 2e3 * t.total + 1e6 * t.n,
                       t.cubes + 3e3 * t.squares + 3e6 * t.total + 1e9 * t.n)
            for arm, t in (("stable", pair.stable), ("candidate", pair.candidate))
        })
        for pair in strata(0.1)
    ]  # fmt: skip
    far = begin(990.0, 1_010.0).look(moved, 1_000, against=1)
    assert far.e_value == pytest.approx(near.e_value, rel=1e-3)


def test_a_bet_that_saves_leaves_a_part_of_alpha_to_the_next_try_whatever_it_lost() -> None:
    ruined = begin().look(strata(-3.0) * 5, 1_000, against=1)
    careful = replace(begin(), saves=True).look(strata(-3.0) * 5, 1_000, against=1)
    assert ruined.e_value < 1e-6
    assert careful.e_value > 0.1
    assert careful.spent == pytest.approx(0.05 * (1 - careful.e_value))
    won = replace(begin(), saves=True).look(strata(0.5), 1_000, against=1)
    assert won.spent == 0.05


@pytest.mark.parametrize("factor", [0.0, -2.0])
def test_a_factor_that_turns_bounds_round_keeps_them_in_order(factor: float) -> None:
    low, high = Bounds(1.0, 3.0).worse(factor)
    assert low <= high
