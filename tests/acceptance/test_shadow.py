"""Given a shadow under way, when requests and their copies are logged, then it ends by itself and hands over or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from sluicegate.flows.gate.judge import verdict
from sluicegate.flows.stages.shadow import follows, hand_over
from sluicegate.flows.stages.tick import Authority
from sluicegate.registry.plan.fields import Strategy
from sluicegate.registry.rollout.decision import needs_driver
from sluicegate.registry.rollout.facts import Judged
from sluicegate.registry.rollout.rollout import Ending, Phase
from sluicegate.registry.words.build import BuildRef
from sluicegate.services.keeper.drivers import deployment_of
from tests import giving as orders
from tests.acceptance.shadowed import ADA, PLAN, Shadowed


@pytest.fixture
def given(tmp_path: Path) -> Iterator[Callable[..., Shadowed]]:
    made: list[Shadowed] = []

    def make(**changes: object) -> Shadowed:
        made.append(Shadowed(tmp_path, PLAN | {"shadow": PLAN["shadow"] | changes}))  # type: ignore[operator]
        return made[-1]

    yield make
    for each in made:
        each.store.close()


def test_copies_begin_at_the_sample_and_the_shadow_flow_drives_them(given: Callable[..., Shadowed]) -> None:
    shadowed = given(sample=30)
    assert (shadowed.rollout.phase, shadowed.rollout.weight) == (Phase.RUNNING, 3_000)
    assert deployment_of(shadowed.rollout) == "shadow/shadow"
    assert shadowed.ledger.rollouts()[-1].holds_target is False


def test_an_equal_candidate_passes_ends_and_is_handed_over_to_a_canary_once(given: Callable[..., Shadowed]) -> None:
    shadowed = given()
    shadowed.runs(3_000, flips=0.005)
    assert (shadowed.rollout.ending, shadowed.rollout.weight) == (Ending.CONCLUDED, 0)
    assert "every gate passed" in shadowed.rollout.reason
    assert needs_driver(shadowed.rollout, None)
    handed = [hand_over(shadowed.ledger, shadowed.rollout, shadowed.now) for _ in range(2)]
    first, second = (each for each in handed if each is not None)
    assert first.id == second.id != shadowed.name
    assert (first.requested.strategy, first.requested.cause) == (Strategy.CANARY, f"shadow:{shadowed.name}")
    assert [step.weight for step in first.plan.steps] == [1_000, 5_000]


def test_a_candidate_that_answers_otherwise_is_refused_and_nothing_follows(given: Callable[..., Shadowed]) -> None:
    shadowed = given()
    shadowed.runs(3_000, flips=0.12)
    assert shadowed.rollout.ending is Ending.ABORTED
    assert "more than the 5 % that the plan allows" in shadowed.rollout.reason
    assert hand_over(shadowed.ledger, shadowed.rollout, shadowed.now) is None


def test_the_keeper_stops_a_shadow_that_fails_and_ends_one_whose_time_is_over(given: Callable[..., Shadowed]) -> None:
    shadowed = given()
    shadowed.serves(400, errors=0.2)
    shadowed.ticks(Authority.STOP)
    assert shadowed.rollout.ending is Ending.ABORTED
    assert "errors" in shadowed.rollout.reason


def test_a_shadow_that_never_gets_evidence_ends_with_its_time_and_hands_nothing_over(
    given: Callable[..., Shadowed],
) -> None:
    shadowed = given()
    shadowed.serves(20)
    shadowed.now += timedelta(hours=2)
    shadowed.ticks(Authority.STOP)
    assert shadowed.rollout.ending is Ending.CONCLUDED
    assert "its max_time of 2h is over" in shadowed.rollout.reason
    assert not follows(shadowed.rollout)


def test_a_paused_shadow_ends_with_its_time_and_what_passed_meanwhile_hands_nothing_over(
    given: Callable[..., Shadowed],
) -> None:
    shadowed = given()
    orders.pause(shadowed.ledger, shadowed.name, actor="ada", reason="lunch", now=shadowed.now)
    shadowed.runs(2_000)
    assert (shadowed.rollout.phase, shadowed.rollout.has_passed) == (Phase.PAUSED, True)
    shadowed.now += timedelta(hours=2)
    shadowed.ticks(Authority.STOP)
    assert (shadowed.rollout.ending, shadowed.rollout.weight) == (Ending.CONCLUDED, 0)
    assert shadowed.rollout.reason == "its max_time of 2h ended while it was paused: lunch"
    assert hand_over(shadowed.ledger, shadowed.rollout, shadowed.now) is None


def test_a_person_who_ends_a_shadow_that_passed_starts_nothing(given: Callable[..., Shadowed]) -> None:
    shadowed = given(soak="1h")
    shadowed.runs(2_000)
    assert shadowed.rollout.has_passed
    orders.abort(shadowed.ledger, shadowed.name, actor="ada", reason="enough", now=shadowed.now)
    assert hand_over(shadowed.ledger, shadowed.rollout, shadowed.now) is None


def test_a_shadow_ends_when_stable_changes(given: Callable[..., Shadowed]) -> None:
    shadowed = given(soak="1h")
    shadowed.runs(1_000)
    canary = orders.start(
        shadowed.ledger, plan=shadowed.plan, version="3", request=ADA, now=shadowed.now, strategy=Strategy.CANARY
    ).rollout.id  # fmt: skip
    shadowed.launch(canary)
    orders.promote(shadowed.ledger, canary, actor="ada", reason="now", now=shadowed.now)
    shadowed.ticks(Authority.STOP)
    assert shadowed.rollout.ending is Ending.CONCLUDED
    assert shadowed.rollout.reason == "stable is v3 now, but the shadow was compared with v1"
    assert not follows(shadowed.rollout)


def test_verdicts_are_those_of_the_recorded_looks(given: Callable[..., Shadowed]) -> None:
    shadowed = given(soak="1h")
    shadowed.runs(1_500, flips=0.02)
    rollout = shadowed.rollout
    looks = shadowed.ledger.looks(rollout.id, "flips")
    again = verdict(plan=rollout.plan, gate=rollout.plan.gates[0], guardrail=False, step=0, looks=looks)
    told = [e.fact for e in shadowed.ledger.entries(rollout.id) if isinstance(e.fact, Judged)]
    assert (again, again.answer.value) == (looks[-1].verdict, [f.answer for f in told if f.metric == "flips"][-1])
    assert BuildRef(model="delays", version="2") == rollout.candidate
