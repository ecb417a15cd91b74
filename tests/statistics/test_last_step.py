"""A candidate that turned bad at the last step is not promoted for what it was before; one that did not is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.random import Generator

from sluicegate.flows.gate.design import gate_question
from sluicegate.flows.gate.fold import GateState
from sluicegate.flows.gate.wording import gate_verdict
from sluicegate.flows.stats.populations import Events, Population
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.metric import Arm, Stratum, TallyRow, Worse
from sluicegate.registry.words.units import FULL
from sluicegate.registry.words.verdict import Answer
from tests.statistics.montecarlo import share
from tests.statistics.rare import Odds, Values, chance, effects_to_find

BETA = 0.05
_LONGEST = 60_000


def a_plan(metric: dict[str, object], gate: dict[str, object], *, first: str | None = None) -> Plan:
    """A plan of two steps; `first`: the margin of the first. So little alpha that margins decide."""
    steps = [{"weight": 20, "margins": {"y": first} if first else {}}, {"weight": 50}]
    return Plan.model_validate(
        {
            "model": "m", "metrics": {"y": metric}, "gates": [{"metric": "y", "alpha": 1e-4, "beta": BETA} | gate],
            "steps": steps, "expect": {"requests_per_day": 50_000},
        }
    )  # fmt: skip


ERRORS = a_plan({"source": "status"}, {"margin": "25%"}, first="60%")
COST = a_plan({"source": "outcome", "outcome": "y", "score": "outcome", "cap": 8}, {"margin": "10%"}, first="30%")
"""By bets."""
GAIN = a_plan(
    {"source": "outcome", "outcome": "y", "score": "outcome", "worse": "lower"}, {"margin": "10%"}, first="30%"
)
"""By the score, as there is no cap."""
RARE = a_plan({"source": "status"}, {"below": "1%"})
RATES: Callable[[float], Population] = lambda rate: Events(rate=rate)  # noqa: E731
LOSSES: Callable[[float], Population] = Values(np.random.default_rng(7).exponential(1.0, 4_000).clip(max=8)).times


def is_promoted(
    rng: Generator, plan: Plan, draw: Callable[[float], Population], stable: float, before: float, after: float,
    odds: Odds, at_least: int = 6_000,
) -> bool:  # fmt: skip
    """Whether the candidate passes every step: it is `before` for so many rows at least, and `after` at the last step.

    `at_least` keeps the rollout at the step before the last one, so that what it was before is well known.
    """
    gate, step, rows = plan.gates[0], 0, 0
    state = GateState.begin(gate_question(plan, gate))
    while rows < _LONGEST and state.failed_at is None:
        new = max(200, rows // 20)
        weight, level = plan.steps[step].weight, after if step == len(plan.steps) - 1 else before
        of_step = odds if step == len(plan.steps) - 1 else Odds()
        pair = of_step.split(rng, new, weight / FULL, draw(stable), draw(level))
        rows += new
        state = state.look(
            tuple(
                TallyRow(metric="y", stratum=Stratum(epoch=step + 1, bucket=rows), weight=weight, arm=arm, tally=tally)
                for arm, tally in ((Arm.STABLE, pair.stable), (Arm.CANDIDATE, pair.candidate))
            )
        )
        has_passed = gate_verdict(state, step).answer is Answer.PASS
        if has_passed and step == len(plan.steps) - 1:
            return True
        step += has_passed and (step < len(plan.steps) - 2 or rows >= at_least)
    return False


TURNED = {
    "better, then 1.5 times the errors": (ERRORS, RATES, 0.05, 0.03, 0.075),
    "better, then just what must be ruled out": (ERRORS, RATES, 0.05, 0.03, 0.06875),
    "better by half, then 1.25 times the cost": (COST, LOSSES, 1.0, 0.5, 1.25),
    "equal, then just what must be ruled out": (COST, LOSSES, 1.0, 1.0, 1.15),
    "twice the gain, then just what must be ruled out": (GAIN, LOSSES, 1.0, 2.0, 0.85),
    "no errors, then as many as the cap": (RARE, RATES, 0.002, 0.0, 0.01),
}


def _effects(plan: Plan, of: Population) -> tuple[float, ...]:
    """Of candidates that pass the last step."""
    sign = 1 if plan.metrics["y"].worse is Worse.LOWER else -1
    return effects_to_find(of, 12_500, sign=sign)[1:]


SHARP = [turned for turned in TURNED if "just what" in turned or "as many as" in turned]
"""Those that lie where the promise begins."""


@pytest.mark.parametrize("turned", SHARP)
def test_a_candidate_that_turns_bad_at_the_last_step_is_not_promoted(turned: str) -> None:
    plan, draw, stable, before, after = TURNED[turned]
    promoted = chance(
        lambda rng, odds: is_promoted(rng, plan, draw, stable, before, after, odds), _effects(plan, draw(stable)),
        runs=36, seed=71,
    )  # fmt: skip
    print(f"\n{turned}: promoted {promoted}, at most {max(promoted.weights):.2f} each")
    assert promoted.at_least <= BETA


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("turned", TURNED)
def test_a_candidate_that_turns_bad_at_the_last_step_is_not_promoted_in_many_runs(turned: str) -> None:
    plan, draw, stable, before, after = TURNED[turned]
    promoted = share(
        lambda rng: is_promoted(rng, plan, draw, stable, before, after, Odds()), runs=600, seed=71
    )  # fmt: skip
    print(f"\n{turned}: promoted {promoted}")
    assert promoted.at_least <= BETA


@pytest.mark.parametrize(
    ("plan", "draw", "level"),
    [(ERRORS, RATES, 0.05), (COST, LOSSES, 1.0), (RARE, RATES, 0.001)],
    ids=["errors", "cost", "rare"],
)
def test_a_candidate_that_stays_as_good_is_promoted(
    plan: Plan, draw: Callable[[float], Population], level: float
) -> None:
    promoted = share(lambda rng: is_promoted(rng, plan, draw, level, level, level, Odds()), runs=20, seed=72)
    assert promoted.at_most >= 0.95
