"""Rollouts of one build by one plan share the beta of its gates."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from numpy.random import Generator

from sluicegate.flows.gate.judge import next_look
from sluicegate.flows.stages.attempts import gates_of_attempt
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.facts import Aborted, Begun, Packed, Ready, Requested, StepEntered
from sluicegate.registry.words.figures import number
from sluicegate.registry.words.metric import Arm, Stratum, TallyRow
from sluicegate.registry.words.tally import Tally
from sluicegate.registry.words.verdict import Answer, Look
from tests.doubles.ledger import MemoryLedger

AT = datetime(2026, 1, 1, tzinfo=UTC)
PLAN = Plan.model_validate(
    {
        "model": "m", "metrics": {"errors": {"source": "status"}}, "gates": [{"metric": "errors", "margin": "50%"}],
        "steps": [{"weight": 50}], "expect": {"requests_per_day": 10_000},
    }
)  # fmt: skip

MEAN = Plan.model_validate(
    PLAN.document()
    | {"metrics": {"errors": {"source": "latency", "cap": 1.0}}, "gates": [{"metric": "errors", "margin": "10%"}]}
)


class Tries:
    """A ledger to which one try after the other is added."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.count = 0

    def open(self, *, version: str = "2", plan: Plan = PLAN) -> str:
        """Begin a rollout and give its id."""
        name, now = f"r{self.count}", AT + timedelta(hours=self.count)
        requested = Requested(
            model="m", variation="default", version=version, strategy="canary", plan=plan.document(),
            plan_digest=plan.digest, actor="ada", cause="cli",
        )  # fmt: skip
        facts = (
            Begun(stable="1"), Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version=version),
            StepEntered(step=0, weight=5_000, actor="driver", reason="ready"),
        )  # fmt: skip
        self.ledger.open(name, requested, now)
        for seq, fact in enumerate(facts, start=1):
            self.ledger.append(name, seq, fact, now)
        self.count += 1
        return name

    def end(self, name: str) -> None:
        rollout = self.ledger.rollout(name)
        self.ledger.append(name, rollout.seq + 1, Aborted(actor="ada", reason="enough"), rollout.requested_at)

    def beta(self, name: str) -> float:
        ((gate, _),) = gates_of_attempt(self.ledger, self.ledger.rollout(name))
        return gate.beta

    def run(self, name: str, rng: Generator, rate: float, stable: float, rows: int) -> Answer:
        """Judge a rollout of so many rows, and end it."""
        rollout, looks, tallies = self.ledger.rollout(name), list[Look](), {arm: Tally() for arm in Arm}
        ((gate, _),) = gates_of_attempt(self.ledger, rollout)
        for seen in range(200, rows + 1, 200):
            for arm, share in ((Arm.STABLE, stable), (Arm.CANDIDATE, rate)):
                tallies[arm] += Tally.from_events(100, int(rng.binomial(100, share)))
            each = [
                TallyRow(metric="errors", stratum=Stratum(epoch=1, bucket=0), weight=5_000, arm=arm, tally=tally)
                for arm, tally in tallies.items()
            ]
            look = next_look(
                rollout=name, plan=rollout.plan, gate=gate, guardrail=False, step=0, looks=looks, rows=each,
                watermark=seen, at=AT,
            )  # fmt: skip
            if look is not None:
                looks.append(self.ledger.record_look(look))
                if look.verdict.answer in (Answer.PASS, Answer.FAIL):
                    break
        self.end(name)
        return looks[-1].verdict.answer


def test_a_try_has_what_those_before_it_left() -> None:
    tries, rng = Tries(), np.random.default_rng(1)
    first = tries.open()
    assert tries.beta(first) == 0.05
    tries.run(first, rng, 0.05, 0.05, 600)
    second = tries.open()
    after_one = tries.beta(second)
    assert 0.02 < after_one < 0.05, "600 of 10,000 requests spend a part"
    tries.run(second, rng, 0.05, 0.05, 600)
    verdict = tries.ledger.last_looks(second)[0].verdict
    assert verdict.details[-1] == f"earlier tries of this build left {number(after_one)} of beta, which was 0.05"
    third = tries.open()
    assert tries.beta(third) < after_one
    assert tries.beta(first) == 0.05, "what is recorded is judged again alike"
    tries.end(third)
    assert tries.beta(tries.open()) == tries.beta(third), "one without a look spends nothing"


def test_another_build_or_plan_is_another_promise() -> None:
    tries = Tries()
    tries.run(tries.open(), np.random.default_rng(1), 0.05, 0.05, 600)
    other = tries.open(version="3")
    assert tries.beta(other) == 0.05
    tries.end(other)
    changed = PLAN.model_copy(update={"bake": 60.0})
    assert tries.beta(tries.open(plan=changed)) == 0.05


def test_a_rate_below_a_share_is_halved() -> None:
    tries = Tries()
    below = Plan.model_validate(PLAN.document() | {"gates": [{"metric": "errors", "below": "1%"}]})
    name = tries.open(plan=below)
    rows = [
        TallyRow(
            metric="errors", stratum=Stratum(epoch=1, bucket=0), weight=5_000, arm=arm, tally=Tally.from_events(100, 1)
        )
        for arm in Arm
    ]
    look = next_look(
        rollout=name, plan=below, gate=below.gates[0], guardrail=False, step=0, looks=[], rows=rows, watermark=0, at=AT
    )
    assert look is not None
    tries.ledger.record_look(look)
    tries.end(name)
    assert tries.beta(tries.open(plan=below)) == pytest.approx(0.025)


@pytest.mark.parametrize(("rate", "least"), [(0.3, 0.04), (0.5, 0.001)], ids=["as good", "worse"])
def test_a_bet_leaves_what_it_has_not_lost(rate: float, least: float) -> None:
    """A mean with bounds: a second try of a build as good can pass, and one of a worse build has a part of beta."""
    tries, rng = Tries(), np.random.default_rng(4)
    tries.run(tries.open(plan=MEAN), rng, rate, 0.3, 600)
    second = tries.open(plan=MEAN)
    assert least < tries.beta(second) <= 0.05
    if rate <= 0.3:
        assert tries.run(second, rng, rate, 0.3, 10_000) is Answer.PASS


def test_what_is_left_is_never_nothing() -> None:
    tries = Tries()
    name = tries.open()
    rng = np.random.default_rng(2)
    tries.run(name, rng, 0.05, 0.05, 200)
    look = tries.ledger.last_looks(name)[0]
    tries.ledger.record_look(replace(look, k=look.k + 1, verdict=replace(look.verdict, beta_spent=0.05)))
    assert 0 < tries.beta(tries.open()) < 1e-6
