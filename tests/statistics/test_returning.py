"""Users who return through a ramp, judged by the gate itself from telemetry's sums, at every look.

By row, the same traffic stops an equal candidate in one run of five (57 of 300): that is why units are counted.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from numpy.random import Generator

from sluicegate.flows.gate import judge as gate
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.verdict import Answer, Look
from tests.statistics.montecarlo import share
from tests.statistics.returning import Returning

PLAN = Plan.model_validate(
    {
        "model": "m", "unit": "x-user-id", "expect": {"requests_per_day": 20000},
        "metrics": {"errors": {"source": "status"}},
        "gates": [{"metric": "errors", "alpha": 0.05, "margin": "25%"}],
        "steps": [{"weight": 5}, {"weight": 25}, {"weight": 50}],
    }
)  # fmt: skip
WEIGHTS = tuple(step.weight for step in PLAN.steps)
EQUAL = Returning(rate=0.1, day=0.5)
CROWDS = {
    "alike": EQUAL, "a few come most often": replace(EQUAL, activity=1.05),
    "return more often to the candidate": replace(EQUAL, often=2.0),
}  # fmt: skip


def answers(rng: Generator, crowd: Returning, total: int = 20_000) -> list[Answer]:
    """The answer at each look of one rollout; every user comes about ten times."""
    looks: list[Look] = []
    for step, rows in crowd.rows(rng, "errors", WEIGHTS, total, 200):
        look = gate.next_look(
            rollout="r", plan=PLAN, gate=PLAN.gates[0], guardrail=False, step=step, looks=looks, rows=rows, watermark=0,
            at=datetime(2026, 1, 1, tzinfo=UTC),
        )  # fmt: skip
        looks += [look] if look is not None else []
    return [look.verdict.answer for look in looks]


def _fails(rng: Generator, crowd: Returning) -> bool:
    return Answer.FAIL in answers(rng, crowd)


def _passes(rng: Generator, crowd: Returning) -> bool:
    return Answer.PASS in answers(rng, replace(crowd, harm=1.25))


@pytest.mark.parametrize("crowd", CROWDS)
def test_an_equal_candidate_is_stopped_within_alpha(crowd: str) -> None:
    assert share(lambda rng: _fails(rng, CROWDS[crowd]), runs=4, seed=1).at_least <= 0.05


def test_harm_to_returning_users_is_found() -> None:
    assert share(lambda rng: Answer.FAIL in answers(rng, Returning(rate=0.1, harm=2.0)), runs=3, seed=2).hits == 3


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("crowd", CROWDS)
@pytest.mark.parametrize("wrong", [_fails, _passes], ids=["equal candidates stopped", "harm at the margin passed"])
def test_a_thousand_rollouts_keep_both_promises(wrong, crowd: str) -> None:  # type: ignore[no-untyped-def]
    seen = share(lambda rng: wrong(rng, CROWDS[crowd]), runs=1000, seed=3)
    print(f"\n{wrong.__name__}, {crowd}: {seen}")
    assert seen.at_least <= 0.05, f"{seen}"
