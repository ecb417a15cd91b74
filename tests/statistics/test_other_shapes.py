"""Shapes, bursts, seasons and weights that no other test names: both promises hold for each."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from numpy.random import Generator
from numpy.typing import NDArray

from sluicegate.flows.stats.bets import Bounds
from sluicegate.flows.stats.increment import Increment
from sluicegate.flows.stats.pair import Pair
from sluicegate.flows.stats.populations import tally_of
from sluicegate.flows.stats.trial import Design, Kind, Rung, Trial
from tests.statistics.montecarlo import share
from tests.statistics.scenarios import rows_at_looks

Values = NDArray[np.float64]
Draw = Callable[[Generator, float, int], tuple[Values, Values]]
"""What n rows would be of stable and of the candidate, at a share of the rollout."""
Begin = Callable[[Generator, float], Draw]
"""What a rollout is like whose candidate's mean is so many times stable's."""
BUDGET, STRATUM = 0.05, 500


def decides(
    rng: Generator, begin: Begin, *, kind: Kind, weight: Callable[[float], float], rows: int, margin: float | None,
    worse_is_higher: bool,
) -> bool:  # fmt: skip
    """Whether the candidate is ever stopped, at equal means; with a margin, whether it ever passes exactly there."""
    planned = rows * weight(0.5) * (1 - weight(0.5))
    design = Design(
        kind=kind, worse_is_higher=worse_is_higher, alpha=BUDGET, beta=BUDGET, information=planned,
        rungs=() if margin is None else (Rung(margin=margin, information=planned),),
        bounds=Bounds(0.0, 1.0) if kind is Kind.MEAN else None,
    )  # fmt: skip
    draw = begin(rng, 1 + (margin or 0.0) * design.sign)
    trial, seen, information = Trial.begin(design), 0, 0.0
    for new in rows_at_looks(rows, growth=0.1):
        pairs = []
        for part in np.array_split(np.arange(seen, seen + new), max(1, new // STRATUM)):
            at = part[0] / rows
            is_mine = rng.random(part.size) < weight(at)
            stable, candidate = draw(rng, at, part.size)
            pairs.append(Pair(stable=tally_of(stable[~is_mine]), candidate=tally_of(candidate[is_mine])))
        seen, information = seen + new, information + sum(pair.information for pair in pairs)
        trial = trial.look(Increment(pairs=pairs, information=information))
        if trial.failed_at if margin is None else trial.ruled_out(margin):
            return True
    return False


def zero_inflated(rng: Generator, times: float) -> Draw:
    """Zeros and lognormal losses, capped by 5,000 of stable's; the candidate's are more and spread less."""
    cap = float(np.quantile(_losses(rng, 5_000, 0.4, 0.0, 1.5), 0.999))
    stable, candidate = (float(np.minimum(values, cap).mean()) for values in _many())
    often = times * stable / candidate
    return lambda rng, _, n: (
        np.minimum(_losses(rng, n, 0.4, 0.0, 1.5), cap) / cap, np.minimum(_losses(rng, n, often, 0.7, 0.7), cap) / cap
    )  # fmt: skip


@cache
def _many() -> tuple[Values, Values]:
    rng = np.random.default_rng(8)
    return _losses(rng, 400_000, 0.4, 0.0, 1.5), _losses(rng, 400_000, 1.0, 0.7, 0.7)


def _losses(rng: Generator, n: int, share_of_rows: float, mu: float, sigma: float) -> Values:
    return np.where(rng.random(n) < share_of_rows, rng.lognormal(mu, sigma, n), 0.0)


def constant_and_two_points(_: Generator, times: float) -> Draw:
    return lambda rng, _, n: (np.full(n, 0.05), _events(rng, np.full(n, 0.05 * times)))


def two_points_and_constant(_: Generator, times: float) -> Draw:
    return lambda rng, _, n: (_events(rng, np.full(n, 0.05)), np.full(n, 0.05 * times))


def bursts_in_both(_: Generator, times: float) -> Draw:
    """Faults of 25 requests in a row, whichever build they go to."""

    def draw(rng: Generator, _: float, n: int) -> tuple[Values, Values]:
        starts = rng.integers(0, n, rng.poisson(n / 500))
        rate = np.where((np.arange(n)[:, np.newaxis] - starts) % n < 25, 0.6, 0.005).max(axis=1, initial=0.005)
        return _events(rng, rate), _events(rng, rate * times)

    return draw


def by_hour(_: Generator, times: float) -> Draw:
    def draw(rng: Generator, at: float, n: int) -> tuple[Values, Values]:
        rate = np.full(n, 0.25 * (1 + 0.8 * math.sin(8 * math.pi * at)))
        return _events(rng, rate), _events(rng, rate * times)

    return draw


def by_weight(_: Generator, times: float) -> Draw:
    def draw(rng: Generator, at: float, n: int) -> tuple[Values, Values]:
        rate = np.full(n, 0.1 if at < 0.3 else 0.3 if at < 0.6 else 0.03)
        return _events(rng, rate), _events(rng, rate * times)

    return draw


def _events(rng: Generator, rate: Values) -> Values:
    return (rng.random(rate.size) < rate).astype(float)


def up_and_down(at: float) -> float:
    """Weights that go back down by a jump."""
    return 0.05 if at < 0.3 else 0.5 if at < 0.6 else 0.02


SHAPES: dict[str, tuple[Begin, Kind, Callable[[float], float], int, bool]] = {
    "zero-inflated losses, a frozen cap": (zero_inflated, Kind.MEAN, lambda _: 0.5, 8_000, True),
    "no spread, then nothing or the cap": (constant_and_two_points, Kind.MEAN, lambda _: 0.05, 6_000, True),
    "nothing or the cap, then no spread": (two_points_and_constant, Kind.MEAN, lambda _: 0.2, 6_000, True),
    "the same, lower is worse": (two_points_and_constant, Kind.MEAN, lambda _: 0.5, 6_000, False),
    "bursts of faults": (bursts_in_both, Kind.COUNT, lambda _: 0.05, 8_000, True),
    "rates by hour, lower is worse": (by_hour, Kind.COUNT, lambda _: 0.2, 8_000, False),
    "means by hour, lower is worse": (by_hour, Kind.MEAN, lambda _: 0.2, 8_000, False),
    "weights that go down again": (by_weight, Kind.COUNT, up_and_down, 8_000, True),
}


@pytest.mark.parametrize("runs", [12, pytest.param(400, marks=[pytest.mark.soak, pytest.mark.timeout(0)])])
@pytest.mark.parametrize("margin", [None, 0.2], ids=["equal, stopped", "at the margin, passed"])
@pytest.mark.parametrize("shape", SHAPES)
def test_both_promises_are_kept_for_other_shapes(shape: str, margin: float | None, runs: int) -> None:
    begin, kind, weight, rows, worse_is_higher = SHAPES[shape]
    seen = share(
        lambda rng: decides(
            rng, begin, kind=kind, weight=weight, rows=rows, margin=margin, worse_is_higher=worse_is_higher
        ),
        runs=runs, seed=97,
    )  # fmt: skip
    print(f"\n{shape}: {seen}")
    assert seen.at_least <= BUDGET
