"""How often an interval ever misses the true difference: as often as it says at most, also far from 0 and the margin.

Ends that were shifted from where the tests decide missed the truth in 55 to 95 % of the first worlds but one. Those of
shadows are compared through the verdicts themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest
from numpy.random import Generator
from numpy.typing import NDArray

from sluicegate.flows.gate.pair_design import PairedQuestion, paired_question
from sluicegate.flows.gate.pair_fold import PairedState
from sluicegate.flows.gate.pair_wording import paired_verdict
from sluicegate.flows.stats.bets import Bounds
from sluicegate.flows.stats.increment import Increment
from sluicegate.flows.stats.intervals import estimate
from sluicegate.flows.stats.populations import Events, Losses, Population, split, tally_of
from sluicegate.flows.stats.trial import Design, Kind, Rung, Trial
from sluicegate.registry.plan.staging import staged
from sluicegate.registry.words.metric import Arm, Stratum, TallyRow
from tests.plans import plan_from_values
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


Values = NDArray[np.float64]
Both = Callable[[Generator, int], tuple[Values, Values]]
"""The values of stable and of the candidate for the same n requests."""
METRICS: dict[str, dict[str, object]] = {
    "errors": {"source": "status"},
    "flips": {"source": "disagreement"},
    "late": {"source": "outcome", "outcome": "late", "score": "absolute_error", "cap": 20},
}


@dataclass(frozen=True)
class Shadow:
    """Pairs of both builds, the true difference, and what is asked about it."""

    metric: str
    both: Both
    true: float
    asked: dict[str, object]
    pairs: int = 2_000

    @cached_property
    def question(self) -> PairedQuestion:
        gate = {"metric": self.metric, "alpha": ALPHA, "beta": BETA, **self.asked}
        values = {
            "kind": "plan", "model": "m", "strategy": "shadow", "steps": [{"weight": 10}],
            "metrics": {self.metric: METRICS[self.metric]},
            "shadow": {"sample": 20, "max_time": "2h", "gates": [gate], "guardrails": []},
        }  # fmt: skip
        plan = staged(plan_from_values(values, where="plan"), "shadow")
        return paired_question(plan, plan.gates[0], guardrail=False)

    def is_missed(self, rng: Generator) -> bool:
        """Whether the interval of some look's verdict excludes the truth."""
        state = PairedState.begin(self.question)
        for new in rows_at_looks(self.pairs, first=10, growth=0.1):
            state = state.look(self._rows(*self.both(rng, new)))
            seen = paired_verdict(state, 0)
            low, high = -math.inf if seen.low is None else seen.low, math.inf if seen.high is None else seen.high
            if not low - _ROUNDING <= self.true <= high + _ROUNDING:
                return True
        return False

    def _rows(self, stable: Values, candidate: Values) -> tuple[TallyRow, ...]:
        told = ((self.metric, Arm.STABLE, stable), (self.metric, Arm.CANDIDATE, candidate))
        told = (*told, (self.question.difference, Arm.CANDIDATE, candidate - stable))
        at = Stratum(epoch=1, bucket=0)
        return tuple(TallyRow(metric=m, stratum=at, weight=2_000, arm=arm, tally=tally_of(v)) for m, arm, v in told)


def events(common: float, stable_only: float, candidate_only: float) -> Both:
    """Zeros and ones: how often both have the event, and one build alone."""

    def both(rng: Generator, n: int) -> tuple[Values, Values]:
        draw = rng.random(n)
        of_stable, of_both = common + stable_only, common + stable_only + candidate_only
        stable = draw < of_stable
        return stable.astype(float), ((draw < common) | ((draw >= of_stable) & (draw < of_both))).astype(float)

    return both


def losses(more: float, share: float = 1.0) -> Both:
    """Losses of one mean, of builds that err otherwise; in a share of requests the candidate has so much more, or
    stable."""

    def both(rng: Generator, n: int) -> tuple[Values, Values]:
        hard, more_here = rng.gamma(1.0, 0.5, n), np.where(rng.random(n) < share, more, 0.0)
        stable, candidate = hard + rng.gamma(1.0, 0.5, n), hard + rng.gamma(1.0, 0.5, n)
        return stable + np.maximum(-more_here, 0.0), candidate + np.maximum(more_here, 0.0)

    return both


def errors(common: float, stable_only: float, candidate_only: float) -> Shadow:
    return Shadow(
        "errors", events(common, stable_only, candidate_only), candidate_only - stable_only, {"margin": "20%"}
    )


def late(more: float, share: float = 1.0) -> Shadow:
    return Shadow("late", losses(more, share), more * share, {"margin": "25%"})


SHADOWS = {
    "errors that differ and are no more": errors(0.1, 0.03, 0.03),
    "errors that double": errors(0.05, 0.01, 0.06),
    "ten times the errors": errors(0.0, 0.02, 0.2),
    "errors that halve": errors(0.05, 0.06, 0.01),
    "errors of the candidate alone, in one of 200": errors(0.0, 0.0, 0.005),
    "errors of stable alone, in one of 200": errors(0.0, 0.005, 0.0),
    "losses that differ and are no more": late(0.0),
    "losses twice as large": late(1.0),
    "losses a fifth larger": late(0.2),
    "losses that are smaller": late(-0.3),
    "losses far larger in one of 200": late(10.0, share=0.005),
    "losses far smaller in one of 200": late(-10.0, share=0.005),
}


@pytest.mark.parametrize("world", SHADOWS)
@pytest.mark.parametrize("runs", [20, pytest.param(600, marks=[pytest.mark.soak, pytest.mark.timeout(0)])])
def test_an_interval_of_pairs_ever_misses_the_truth_no_more_often_than_it_says(world: str, runs: int) -> None:
    missed = share(SHADOWS[world].is_missed, runs=runs, seed=63)
    print(f"\n{world}: missed {missed}")
    assert missed.at_least <= ALPHA + BETA
