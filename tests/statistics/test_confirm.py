"""Labels that come after a promotion: an equal build is rolled back no more often than alpha, clear harm is found, and
what is worse than the margin is confirmed no more often than beta."""

from __future__ import annotations

import math
from typing import Any

import pytest
from numpy.random import Generator

from sluicegate.flows.gate.design import gate_question
from sluicegate.flows.gate.fold import GateState
from sluicegate.flows.gate.wording import gate_verdict
from sluicegate.flows.stats.populations import Events, Population, split
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.plan.staging import staged
from sluicegate.registry.words.metric import Arm, Stratum, TallyRow
from sluicegate.registry.words.units import FULL
from sluicegate.registry.words.verdict import Answer
from tests.statistics.montecarlo import Share, share

ALPHA = BETA = 0.05
RUNS, SOAK = 100, 1_000
A_DAY, DAYS = 3_000, 12
"""Labels that ripen on a day, for so many days: first those of the steps, then those beside the holdout."""


def plan(holdout: float, margin: str = "30%", alpha: float = ALPHA) -> Plan:
    document: dict[str, Any] = {
        "model": "loans",
        "metrics": {"unpaid": {"source": "outcome", "outcome": "unpaid", "score": "zero_one",
                               "matures_after": "30d"}},
        "steps": [{"weight": 10}, {"weight": 50}],
        "retention": "45d",
        "confirm": {"metric": "unpaid", "margin": margin, "alpha": alpha, "beta": BETA, "holdout": holdout,
                    "max_time": "60d"},
        "expect": {"requests_per_day": A_DAY},
    }  # fmt: skip
    return staged(Plan.model_validate(document), "canary")


def confirmed(rng: Generator, rollout: Plan, rate: float, candidate: float) -> Answer:
    """What labels say in the end: of one day at 10 %, two at 50 %, then beside the holdout."""
    confirm = rollout.confirm
    assert confirm is not None
    [gate] = [each for each in rollout.gates if each.metric == confirm.metric]
    question = gate_question(rollout, gate)
    weights = [1_000, 5_000, 5_000, *[FULL - confirm.holdout] * (DAYS - 3)]
    state, promoted = GateState.begin(question), 3
    for day, weight in enumerate(weights):
        pair = split(rng, A_DAY, weight / FULL, _events(rate), _events(candidate))
        stratum = Stratum(epoch=(1_000, 5_000, FULL - confirm.holdout).index(weight), bucket=86_400 * day)
        arms = ((Arm.STABLE, pair.stable), (Arm.CANDIDATE, pair.candidate))
        state = state.look(
            tuple(
                TallyRow(metric="unpaid", stratum=stratum, weight=weight, arm=arm, tally=tally) for arm, tally in arms
            )
        )
        answer = gate_verdict(state, 1).answer
        if answer is Answer.FAIL or (answer is Answer.PASS and day >= promoted):
            return answer
    return Answer.UNDECIDED


def _events(rate: float) -> Population:
    return Events(rate=rate)


def ended(
    answer: Answer, candidate: float, *, runs: int, holdout: float = 10, rate: float = 0.1, margin: str = "30%",
    alpha: float = ALPHA,
) -> Share:  # fmt: skip
    rollout = plan(holdout, margin, alpha)
    return share(lambda rng: confirmed(rng, rollout, rate, candidate) is answer, runs=runs, seed=46)


def test_an_equal_build_is_rolled_back_no_more_often_than_alpha() -> None:
    """With a margin that no labels rule out, so that every look is taken."""
    assert ended(Answer.FAIL, 0.1, runs=RUNS, margin="1%").at_least <= ALPHA


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("holdout", [1, 5, 10, 50])
@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5])
def test_at_any_holdout_and_rate(holdout: float, rate: float) -> None:
    same = ended(Answer.FAIL, rate, runs=SOAK, holdout=holdout, rate=rate, margin="1%")
    assert same.at_least <= ALPHA, same
    wrongly = ended(Answer.PASS, rate * 1.3, runs=SOAK, holdout=holdout, rate=rate)
    assert wrongly.at_least <= BETA, wrongly


def test_clear_harm_is_found_and_an_equal_build_is_confirmed() -> None:
    assert ended(Answer.FAIL, 0.2, runs=60).at_least >= 0.9
    assert ended(Answer.PASS, 0.1, runs=60).at_least >= 0.5


def test_a_build_at_the_margin_is_confirmed_no_more_often_than_beta() -> None:
    """With so little alpha that it is seldom stopped first: a beta of .4 confirms 24 of 100 then, with much alpha 7."""
    assert ended(Answer.PASS, 0.1 * 1.3, runs=RUNS, alpha=0.001).at_least <= BETA


def test_an_information_of_its_own_is_planned_for_the_holdout() -> None:
    question = gate_question(plan(10), plan(10).gates[-1])
    assert math.isclose(question.design.information, 30 * A_DAY * 0.1 * 0.9)
