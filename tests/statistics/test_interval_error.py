"""How often an interval ever misses the true difference: as often as it says at most, also far from 0 and the margin.

Ends that were shifted from where the tests decide missed the truth in 55 to 95 % of these worlds but the first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.random import Generator

from sluicegate.flows.stats.bets import Bounds
from sluicegate.flows.stats.increment import Increment
from sluicegate.flows.stats.intervals import estimate
from sluicegate.flows.stats.populations import Events, Losses, Population, split
from sluicegate.flows.stats.trial import Design, Kind, Rung, Trial
from tests.statistics.montecarlo import share
from tests.statistics.scenarios import rows_at_looks

ALPHA = BETA = 0.05
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class World:
    """Two builds at one weight, and a margin to rule out."""

    stable: Population
    candidate: Population
    weight: float
    rows: int
    margin: float
    cap: float | None = None

    def is_missed(self, rng: Generator) -> bool:
        """Whether the interval excludes the truth at some look."""
        planned = self.rows * self.weight * (1 - self.weight)
        design = Design(
            kind=Kind.COUNT if self.cap is None else Kind.MEAN, alpha=ALPHA, beta=BETA, information=planned,
            rungs=tuple(Rung(margin=margin, information=planned) for margin in (self.margin, 0.0)),
            bounds=None if self.cap is None else Bounds(0.0, self.cap),
        )  # fmt: skip
        trial, information, true = Trial.begin(design), 0.0, self.candidate.mean - self.stable.mean
        for new in rows_at_looks(self.rows, first=20, growth=0.1):
            pair = split(rng, new, self.weight, self.stable, self.candidate)
            information += pair.information
            trial = trial.look(Increment(pairs=[pair], information=information))
            seen = estimate(trial, self.margin)
            low, high = -math.inf if seen.low is None else seen.low, math.inf if seen.high is None else seen.high
            if not low - _ROUNDING <= true <= high + _ROUNDING:
                return True
        return False


WORLDS = {
    "twice the errors": World(
        stable=Events(rate=0.02), candidate=Events(rate=0.04), weight=0.5, rows=2_000, margin=0.5
    ),
    "ten times the errors": World(
        stable=Events(rate=0.02), candidate=Events(rate=0.2), weight=0.5, rows=2_000, margin=0.5
    ),
    "ten times the errors at a small weight": World(
        stable=Events(rate=0.02), candidate=Events(rate=0.2), weight=0.05, rows=3_000, margin=0.5
    ),
    "a mean twice as large": World(
        stable=Losses(mean=1.0, sd=0.7, cap=8), candidate=Losses(mean=2.0, sd=0.7, cap=8), weight=0.5, rows=1_000,
        margin=0.25, cap=8,
    ),
}  # fmt: skip


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("runs", [20, pytest.param(600, marks=[pytest.mark.soak, pytest.mark.timeout(0)])])
def test_an_interval_ever_misses_the_truth_no_more_often_than_it_says(world: str, runs: int) -> None:
    missed = share(WORLDS[world].is_missed, runs=runs, seed=61)
    print(f"\n{world}: missed {missed}")
    assert missed.at_least <= ALPHA + BETA


def test_an_interval_becomes_narrow() -> None:
    """At ten times the errors, an end is within three hundredths of the truth after 2,000 rows."""
    world, rng = WORLDS["ten times the errors"], np.random.default_rng(62)
    rungs = (Rung(margin=0.0, information=500.0),)
    trial = Trial.begin(Design(kind=Kind.COUNT, alpha=ALPHA, beta=BETA, information=500.0, rungs=rungs))
    for k in range(1, 21):
        pair = split(rng, 100, 0.5, world.stable, world.candidate)
        trial = trial.look(Increment(pairs=[pair], information=25.0 * k))
    seen = estimate(trial)
    assert seen.low is not None
    assert seen.high is not None
    assert seen.low > 0.1
    assert seen.high < 0.26
