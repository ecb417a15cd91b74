"""Six rollouts of one build that is worse than the margin do not pass it more often than one may."""

from __future__ import annotations

import pytest
from numpy.random import Generator

from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.verdict import Answer
from tests.statistics.montecarlo import share
from tests.unit.test_attempts import MEAN, PLAN, Tries

LONG = (pytest.mark.soak, pytest.mark.timeout(0))


@pytest.mark.parametrize("rows", [2_000, 20_000], ids=["given up early", "to the end"])
@pytest.mark.parametrize(
    ("plan", "rate", "runs"),
    [
        pytest.param(PLAN, 0.15, 30, id="a rate"),
        pytest.param(PLAN, 0.15, 500, id="a rate, often", marks=LONG),
        pytest.param(MEAN, 0.11, 5, id="a mean, by bets"),
        pytest.param(MEAN, 0.11, 500, id="a mean, by bets, often", marks=LONG),
    ],
)
def test_six_tries_keep_the_promise_of_one(rows: int, plan: Plan, rate: float, runs: int) -> None:
    def passes(rng: Generator) -> bool:
        tries = Tries()
        return any(tries.run(tries.open(plan=plan), rng, rate, 0.1, rows) is Answer.PASS for _ in range(6))

    passed = share(passes, runs=runs, seed=91)
    print(f"\nsix tries of {rows:,} rows: passed {passed}")
    assert passed.at_least <= 0.05
