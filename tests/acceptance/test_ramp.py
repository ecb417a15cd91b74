"""Given a plan, when it ticks, then the weight is 25: the driver's tick over a real ledger and real gates."""

from __future__ import annotations

import math
import re
from datetime import timedelta

import pytest

from sluicegate.flows.stages.tick import Authority
from sluicegate.registry.ledger.reading import read_for_views
from sluicegate.registry.report.view import rollout_view
from sluicegate.registry.rollout.facts import Judged, Paused, Promoted
from sluicegate.registry.rollout.rollout import Ending, Phase
from sluicegate.registry.words.errors import LedgerConflict
from sluicegate.registry.words.metric import Arm
from sluicegate.registry.words.tally import Tally
from tests import giving as orders
from tests.acceptance.given import PLAN, Given


def test_a_ready_candidate_enters_the_first_step() -> None:
    given = Given()
    given.ticks()
    assert (given.rollout.phase, given.rollout.weight) == (Phase.RUNNING, 1000)


def test_only_a_driver_lets_it_enter() -> None:
    given = Given()
    given.ticks(Authority.STOP)
    assert given.rollout.weight == 0


def test_a_better_candidate_climbs_every_step_and_is_promoted_on_passing_verdicts() -> None:
    given = Given()
    given.ticks()
    given.runs(30_000, until=2500)
    assert given.rollout.weight == 2500
    given.runs(30_000, until=5000)
    assert given.rollout.weight == 5000
    given.runs(30_000)
    assert given.rollout.phase is Phase.BAKING
    promoted = next(e.fact for e in given.ledger.entries(given.name) if isinstance(e.fact, Promoted))
    assert (promoted.override, promoted.verdicts, promoted.actor) == (False, {"log_loss": "pass"}, "policy")


def test_a_worse_candidate_is_aborted_with_the_evidence() -> None:
    given = Given(candidate=0.62)
    given.ticks()
    given.runs(60_000)
    assert (given.rollout.ending, given.rollout.weight) == (Ending.ABORTED, 0)
    assert "log_loss" in given.rollout.reason


def test_the_keeper_aborts_on_a_guardrail_but_never_advances() -> None:
    harmed = Given(errors=0.2)
    harmed.ticks()
    harmed.runs(20_000, authority=Authority.STOP)
    assert harmed.rollout.ending is Ending.ABORTED
    assert "errors" in harmed.rollout.reason
    good = Given()
    good.ticks()
    good.runs(10_000, authority=Authority.STOP)
    assert (good.rollout.weight, good.rollout.phase) == (1000, Phase.RUNNING)


def test_a_paused_rollout_holds_its_weight_and_is_still_aborted_on_harm() -> None:
    given = Given(errors=0.2)
    given.ticks()
    orders.pause(given.ledger, given.name, actor="ada", reason="lunch", now=given.now)
    given.runs(20_000)
    assert given.rollout.ending is Ending.ABORTED


def _unusable(given: Given, arms: tuple[Arm, ...]) -> None:
    """Every request so far has a label, and of these builds no score that is a number."""
    for (metric, *side, arm), tally in list(given.traffic.sums.items()):
        if metric == "errors":
            value = math.nan if arm in arms else 0.5
            given.traffic.sums["log_loss", *side, arm] = Tally.from_values([value] * tally.n)


@pytest.mark.parametrize("arms", [(Arm.STABLE, Arm.CANDIDATE), (Arm.CANDIDATE,)])
def test_labels_of_which_none_is_a_number_are_told_as_such(arms: tuple[Arm, ...]) -> None:
    given = Given(PLAN | {"steps": [{"weight": 50}]}, labels=False)
    given.ticks()
    facts = []
    for _ in range(5):
        given.runs(300)
        _unusable(given, arms)
        for _ in range(20):
            given.ticks()
        facts.append(len(given.ledger.entries(given.name)))
    view = rollout_view(read_for_views(given.ledger, [given.rollout])[0], given.now)
    (judged,) = (gate for gate in view.gates if gate.metric == "log_loss")
    assert judged.verdict == "NO DATA"
    assert re.match(r"no look yet: [5-9]00 values of (stable|candidate) came, but none is a number", judged.reason)
    assert judged.reason in (view.waits_for or "")
    assert facts[-1] - facts[0] < 10, "the count is told, not at every tick"
    assert given.rollout.phase is Phase.RUNNING


def test_without_labels_nothing_is_ever_promoted_however_long_it_takes() -> None:
    given = Given(labels=False)
    given.ticks()
    given.runs(10_000)
    given.now += timedelta(days=365)
    seen = given.ticks()
    assert (given.rollout.weight, given.rollout.phase) == (1000, Phase.RUNNING)
    assert "log_loss must still pass" in seen.decision.reason


@pytest.mark.parametrize(("then", "expected"), [("pause", Phase.PAUSED), ("abort", Phase.ENDED)])
def test_a_deadline_pauses_or_aborts(then: str, expected: Phase) -> None:
    given = Given(PLAN | {"deadline": {"after": "1h", "then": then}}, labels=False)
    given.ticks()
    given.now += timedelta(hours=2)
    given.ticks()
    assert given.rollout.phase is expected
    assert given.rollout.weight == (1000 if then == "pause" else 0)


def test_a_step_that_was_not_seen_is_not_left() -> None:
    given = Given()
    given.ticks()
    for _ in range(100):
        given.traffic.flow(given.rollout, 100, given.now)
        seen = given.ticks()
    assert given.rollout.weight == 1000
    assert "the gateway has not applied 10 % yet" in seen.decision.reason


def test_a_step_waits_for_requests_soak_and_a_person() -> None:
    steps = [{"weight": 10, "margins": {"log_loss": "100%"}, "min_requests": 2000, "soak": "1h", "approval": True}]
    given = Given(PLAN | {"steps": [*steps, {"weight": 50}]})
    given.ticks()
    given.runs(10_000)
    assert "of 2000 candidate requests" in given.ticks().decision.reason
    given.runs(15_000)
    assert "soaking" in given.ticks().decision.reason
    given.now += timedelta(hours=1)
    waiting = given.ticks().decision
    assert waiting.person
    assert "approval" in waiting.reason
    orders.approve(given.ledger, given.name, actor="ada", reason="looks fine", now=given.now)
    given.ticks()
    assert given.rollout.weight == 5000


def test_a_plan_without_gates_is_promoted_only_by_the_people_who_approved() -> None:
    given = Given({"model": "delays", "steps": [{"weight": 10}]})
    given.ticks()
    given.serves()
    assert given.ticks().decision.person
    orders.approve(given.ledger, given.name, actor="ada", reason="fine", now=given.now)
    given.ticks()
    promoted = given.ledger.entries(given.name)[-1].fact
    assert isinstance(promoted, Promoted)
    assert (promoted.override, promoted.actor) == (True, "ada")


def test_errors_alone_can_promote_a_candidate_that_never_fails() -> None:
    plan = {
        "model": "delays",
        "metrics": {"errors": {"source": "status"}},
        "gates": [{"metric": "errors", "alpha": 0.02, "below": "2%"}],
        "steps": [{"weight": 10}, {"weight": 50}],
    }
    good = Given(plan, errors=0.0)
    good.ticks()
    good.runs(20_000)
    assert good.rollout.phase is Phase.BAKING
    bad = Given(plan, errors=0.05)
    bad.ticks()
    bad.runs(40_000)
    assert bad.rollout.ending is Ending.ABORTED


def test_whoever_loses_the_race_changes_nothing_and_ticks_again() -> None:
    given = Given()
    given.ticks()
    seq = given.rollout.seq
    given.ledger.append(given.name, seq + 1, Paused(actor="ada", reason="first"), given.now)
    with pytest.raises(LedgerConflict):
        given.ledger.append(given.name, seq + 1, Paused(actor="bob", reason="late"), given.now)
    assert given.rollout.actor == "ada"


def test_a_verdict_is_on_record_once_for_each_change() -> None:
    given = Given()
    given.ticks()
    given.runs(3_000)
    judged = [e.fact for e in given.ledger.entries(given.name) if isinstance(e.fact, Judged)]
    answers = [(j.metric, j.step, j.answer) for j in judged]
    assert len(answers) == len(set(answers)), answers
