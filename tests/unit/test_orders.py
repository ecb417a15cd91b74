"""Orders check the present state, then append; the same intent from many doors is one rollout."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.facts import Failed, Packed, Ready, StepEntered
from sluicegate.registry.rollout.rollout import Ending, Phase
from sluicegate.registry.rollout.triggers import Sighting
from sluicegate.registry.words.errors import IllegalMove, Refused, TargetBusy
from tests import giving as orders
from tests.doubles.ledger import MemoryLedger
from tests.giving import Giver

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BY_NAME = Giver(actor="ada", cause="cli")
BY_TRIGGER = Giver(actor="mlflow", cause="alias:candidate", by_name=False)
PACKED = Packed(bento="m:1", bento_digest="b", model_digest="d")


def plan(**changes: object) -> Plan:
    values = {"model": "m", "steps": [{"weight": 10}, {"weight": 50}]}
    return Plan.model_validate(values | changes)


def launched(ledger: MemoryLedger, rollout_id: str) -> None:
    rollout = ledger.rollout(rollout_id)
    if rollout.packed is None:
        rollout = ledger.append(rollout_id, rollout.seq + 1, PACKED, NOW)
    ledger.append(rollout_id, rollout.seq + 1, Ready(version=rollout.requested.version), NOW)


def serving(version: str = "1") -> MemoryLedger:
    """A ledger whose target trusts a first build."""
    ledger = MemoryLedger()
    first = orders.deploy(ledger, plan=plan(), version=version, request=BY_NAME, now=NOW).rollout
    launched(ledger, first.id)
    assert orders.complete(ledger, first.id, NOW).ending is Ending.ESTABLISHED
    return ledger


def start(ledger: MemoryLedger, version: str, request: Giver = BY_NAME, **kwargs: object) -> orders.Started:
    kwargs.setdefault("plan", plan())
    return orders.start(ledger, version=version, request=request, now=NOW, **kwargs)


def at_first_step(ledger: MemoryLedger, version: str) -> str:
    started = start(ledger, version).rollout
    launched(ledger, started.id)
    rollout = ledger.rollout(started.id)
    ledger.append(rollout.id, rollout.seq + 1, StepEntered(step=0, weight=1000, actor="driver", reason="ready"), NOW)
    return started.id


def test_a_rollout_without_a_stable_build_is_refused_and_names_deploy() -> None:
    with pytest.raises(Refused, match="sluice deploy m --build 2"):
        start(MemoryLedger(), "2")


def test_another_build_of_a_variation_with_traffic_is_a_canary_and_the_same_one_is_found() -> None:
    ledger = serving()
    other = orders.deploy(ledger, plan=plan(), version="2", request=BY_NAME, now=NOW)
    assert other.rollout.requested.strategy == "canary"
    again = orders.deploy(ledger, plan=plan(), version="1", request=BY_NAME, now=NOW)
    assert not again.created


def test_a_first_build_that_failed_is_not_tried_again_beside_another() -> None:
    ledger = MemoryLedger()
    failed = orders.deploy(ledger, plan=plan(), version="1", request=BY_NAME, now=NOW).rollout
    orders.append(ledger, failed.id, lambda _: Failed(stage="pack", reason="no"), NOW)
    started = orders.deploy(ledger, plan=plan(), version="2", request=BY_NAME, now=NOW).rollout
    for fact in (Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version="x")):
        orders.append(ledger, started.id, lambda _, fact=fact: fact, NOW)
    orders.complete(ledger, started.id, NOW)
    with pytest.raises(Refused, match="rollout start m --build 1"):
        orders.retry(ledger, failed.id, actor="ada", reason="again", now=NOW)


def test_what_is_stable_already_is_refused() -> None:
    with pytest.raises(Refused, match="stable already"):
        start(serving(), "1")


def test_an_older_version_needs_a_word() -> None:
    ledger = serving("3")
    with pytest.raises(Refused, match="older"):
        start(ledger, "2")
    assert start(ledger, "2", allow_older=True).created


def test_six_doors_at_once_make_one_rollout() -> None:
    ledger = serving()
    with ThreadPoolExecutor(6) as doors:
        asked = list(doors.map(lambda _: start(ledger, "2"), range(6)))
    assert len({order.rollout.id for order in asked}) == 1
    assert sum(order.created for order in asked) == 1


def test_an_aborted_version_starts_again_only_by_name() -> None:
    ledger = serving()
    first = start(ledger, "2", BY_TRIGGER).rollout
    orders.abort(ledger, first.id, actor="ada", reason="no", now=NOW)
    by_trigger = start(ledger, "2", BY_TRIGGER)
    assert (by_trigger.created, by_trigger.rollout.id) == (False, first.id)
    by_name = start(ledger, "2")
    assert by_name.created
    assert by_name.rollout.id != first.id


def test_a_changed_plan_is_another_intent_of_a_person_and_none_of_a_trigger() -> None:
    ledger = serving()
    first = start(ledger, "2", BY_TRIGGER).rollout
    assert not start(ledger, "2", BY_TRIGGER, plan=plan(bake="1m")).created, "a second one of a version under way"
    orders.abort(ledger, first.id, actor="ada", reason="no", now=NOW)
    assert not start(ledger, "2", BY_TRIGGER, plan=plan(bake="1m")).created
    assert start(ledger, "2", plan=plan(bake="1m")).created


def test_a_changed_plan_starts_an_aborted_version_where_the_plan_says_so() -> None:
    ledger, seen = serving(), replace(BY_TRIGGER, sighting=Sighting(version="2"))
    trigger = {"tag": {"deploy": "yes"}, "replan": True}
    first = start(ledger, "2", seen, plan=plan(trigger=trigger)).rollout
    orders.abort(ledger, first.id, actor="ada", reason="no", now=NOW)
    assert not start(ledger, "2", seen, plan=plan(trigger=trigger)).created
    assert start(ledger, "2", seen, plan=plan(trigger=trigger, bake="1m")).created


def test_a_newer_candidate_queues_and_takes_its_turn() -> None:
    ledger = serving()
    first = start(ledger, "2").rollout
    second = start(ledger, "3").rollout
    assert (first.phase, second.phase) == (Phase.LAUNCHING, Phase.QUEUED)
    assert orders.begin(ledger, second, NOW).phase is Phase.QUEUED
    orders.abort(ledger, first.id, actor="ada", reason="no", now=NOW)
    assert orders.begin(ledger, ledger.rollout(second.id), NOW).phase is Phase.LAUNCHING


def test_the_queue_is_first_come_first_served() -> None:
    ledger = serving()
    first, second, third = (start(ledger, version).rollout for version in ("2", "3", "4"))
    orders.abort(ledger, first.id, actor="ada", reason="no", now=NOW)
    assert orders.begin(ledger, ledger.rollout(third.id), NOW).phase is Phase.QUEUED
    assert orders.begin(ledger, ledger.rollout(second.id), NOW).phase is Phase.LAUNCHING


def test_a_newer_candidate_is_refused_or_supersedes_by_the_plan() -> None:
    ledger = serving()
    first = start(ledger, "2").rollout
    with pytest.raises(TargetBusy, match=first.id):
        start(ledger, "3", plan=plan(on_newer="refuse"))
    second = start(ledger, "3", plan=plan(on_newer="supersede")).rollout
    assert ledger.rollout(first.id).ending is Ending.SUPERSEDED
    assert second.phase is Phase.LAUNCHING


@pytest.mark.parametrize("phase", ["queued", "launching", "running", "paused", "baking"])
def test_abort_works_in_every_phase_and_twice_is_once(phase: str) -> None:
    ledger = serving()
    name = at_first_step(ledger, "2") if phase != "launching" else start(ledger, "2").rollout.id
    if phase == "queued":
        name = start(ledger, "3").rollout.id
    if phase == "paused":
        orders.pause(ledger, name, actor="ada", reason="wait", now=NOW)
    if phase == "baking":
        orders.promote(ledger, name, actor="ada", reason="sure", now=NOW)
    assert ledger.rollout(name).phase.value == phase
    aborted = orders.abort(ledger, name, actor="ada", reason="no", now=NOW)
    assert (aborted.ending, aborted.weight) == (Ending.ABORTED, 0)
    assert orders.abort(ledger, name, actor="bob", reason="again", now=NOW).seq == aborted.seq


def test_what_has_ended_otherwise_cannot_be_aborted_and_names_rollback() -> None:
    ledger = serving()
    with pytest.raises(Refused, match="sluice rollback m"):
        orders.abort(ledger, ledger.rollouts()[0].id, actor="ada", reason="no", now=NOW)


def test_promotion_by_hand_is_recorded_as_an_override() -> None:
    ledger = serving()
    name = at_first_step(ledger, "2")
    promoted = orders.promote(ledger, name, actor="ada", reason="sure", now=NOW)
    assert promoted.phase is Phase.BAKING
    fact = ledger.entries(name)[-1].fact
    assert (fact.override, fact.actor, fact.reason) == (True, "ada", "sure")
    assert orders.promote(ledger, name, actor="bob", reason="me too", now=NOW).seq == promoted.seq


def test_nothing_is_promoted_before_it_is_ready() -> None:
    ledger = serving()
    started = start(ledger, "2").rollout
    with pytest.raises(IllegalMove, match="ready"):
        orders.promote(ledger, started.id, actor="ada", reason="sure", now=NOW)


def test_rollback_is_a_new_rollout_to_the_build_before() -> None:
    ledger = serving()
    name = at_first_step(ledger, "2")
    orders.promote(ledger, name, actor="ada", reason="sure", now=NOW)
    back = orders.roll_back(
        ledger, model="m", variation="default", version=None, reason="it is bad", request=BY_NAME, now=NOW
    ).rollout
    assert (back.requested.version, back.phase, back.packed) == ("1", Phase.LAUNCHING, PACKED)
    assert ledger.rollout(name).ending is Ending.PROMOTED
    ledger.append(back.id, back.seq + 1, Ready(version="1"), NOW + timedelta(seconds=1))
    done = orders.complete(ledger, back.id, NOW + timedelta(seconds=1))
    assert (done.phase, done.actor) == (Phase.BAKING, "ada")


def test_rollback_is_refused_in_mid_rollout_and_to_what_never_served() -> None:
    ledger = serving()
    name = at_first_step(ledger, "2")
    ask = {"model": "m", "variation": "default", "reason": "x", "request": BY_NAME, "now": NOW}
    with pytest.raises(Refused, match="rollout abort"):
        orders.roll_back(ledger, version=None, **ask)
    orders.promote(ledger, name, actor="ada", reason="sure", now=NOW)
    with pytest.raises(Refused, match="v9 was never stable"):
        orders.roll_back(ledger, version="9", **ask)


def test_approval_is_for_the_step_under_way() -> None:
    ledger = serving()
    name = at_first_step(ledger, "2")
    assert orders.approve(ledger, name, actor="ada", reason="fine", now=NOW).approvals == {0: "ada"}


def test_an_experiment_is_not_asked_for_by_naming_a_build() -> None:
    with pytest.raises(Refused, match="takes no build") as refused:
        start(serving(), "2", plan=Plan.recorded({"model": "m", "steps": [{"weight": 10}], "strategy": "ab"}))
    assert "sluice experiment start m" in str(refused.value.fix)
