"""An order is a value: done wholly or not at all, once however often it is sent, and on what its giver saw."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sluicegate.registry.ledger.record import Receipt
from sluicegate.registry.orders.give import give
from sluicegate.registry.orders.order import (
    Abort,
    Act,
    Approve,
    Deploy,
    Order,
    Pause,
    Promote,
    Resume,
    Retry,
    SeenRollout,
    Share,
    Start,
)
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.facts import Packed, Ready, StepEntered
from sluicegate.registry.rollout.rollout import Ending, Phase
from sluicegate.registry.words.errors import IllegalMove, NotFound, PreconditionFailed, Refused, UsageError
from sluicegate.registry.words.roles import Role
from tests import giving
from tests.doubles.ledger import MemoryLedger

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STEPS = [{"weight": 10, "approval": True}, {"weight": 50, "approval": True}]
PLAN = Plan.model_validate({"model": "m", "steps": STEPS})


@pytest.fixture
def ledger() -> MemoryLedger:
    """A ledger whose model m serves v1."""
    ledger = MemoryLedger()
    serve(ledger, "1", PLAN)
    return ledger


def serve(ledger: MemoryLedger, version: str, plan: Plan) -> None:
    name = giving.deploy(ledger, plan=plan, version=version, request=giving.Giver(), now=NOW).rollout.id
    launched(ledger, name)
    giving.complete(ledger, name, NOW)


def launched(ledger: MemoryLedger, name: str) -> None:
    for fact in (Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version="x")):
        giving.append(ledger, name, lambda _, fact=fact: fact, NOW)


def running(ledger: MemoryLedger, version: str = "2", plan: Plan = PLAN) -> str:
    """A rollout at the first step of its plan."""
    name = giving.start(ledger, plan=plan, version=version, request=giving.Giver(), now=NOW).rollout.id
    launched(ledger, name)
    entered(ledger, name, 0)
    return name


def entered(ledger: MemoryLedger, name: str, step: int) -> None:
    weight = ledger.rollout(name).plan.steps[step].weight
    giving.append(ledger, name, lambda _: StepEntered(step=step, weight=weight, actor="d", reason="next"), NOW)


def order(act: Act, **said: object) -> Order:
    return replace(Order(act=act, actor="ada", role=Role.ADMIN, cause="cli"), **said)  # type: ignore[arg-type]


def facts(ledger: MemoryLedger) -> list[tuple[str, str]]:
    return [(fed.entry.rollout, type(fed.entry.fact).__name__) for fed in ledger.feed(limit=1000)]


# An order by the name of a model


def test_an_abort_by_name_ends_what_has_traffic_and_not_what_waits(ledger: MemoryLedger) -> None:
    paused = running(ledger)
    give(ledger, order(Pause(rollout=paused)), NOW)
    queued = giving.start(ledger, plan=PLAN, version="3", request=giving.Giver(), now=NOW).rollout.id
    assert give(ledger, order(Abort(rollout="m")), NOW).rollout == paused
    assert ledger.rollout(paused).ending is Ending.ABORTED
    assert not ledger.rollout(queued).is_ended


@pytest.mark.parametrize("act", [Abort, Promote, Pause, Resume, Retry])
def test_where_several_could_be_meant_an_order_names_them_and_does_nothing(
    ledger: MemoryLedger, act: type[Abort | Promote | Pause | Resume | Retry]
) -> None:
    other = Plan.model_validate({"model": "m", "variation": "b", "steps": STEPS})
    serve(ledger, "1", other)
    first, second = running(ledger), running(ledger, "2", other)
    before = facts(ledger)
    with pytest.raises(Refused, match=f"(?s){first}.*{second}") as refused:
        give(ledger, order(act(rollout="m")), NOW)
    assert "the id of one" in str(refused.value)
    assert facts(ledger) == before


def test_a_name_means_what_waits_where_nothing_is_under_way_and_else_the_last_that_ended(ledger: MemoryLedger) -> None:
    first = running(ledger)
    give(ledger, order(Abort(rollout=first)), NOW)
    assert giving.find(ledger, "m").id == first
    second = running(ledger, "3")
    assert giving.find(ledger, "m").id == second
    with pytest.raises(NotFound):
        giving.find(ledger, "n")


# Sent twice


def test_an_order_that_is_sent_again_gives_its_first_receipt_and_does_nothing(ledger: MemoryLedger) -> None:
    start = order(Start(model="m", variation="default", version="2", plan=PLAN), key="k1")
    first = give(ledger, start, NOW)
    before = facts(ledger)
    again = give(ledger, start, NOW + timedelta(hours=1))
    assert again == replace(first, repeated=True)
    assert first == Receipt(rollout=first.rollout, changed=True, created=True)
    assert facts(ledger) == before


def test_a_key_is_not_used_for_another_order_but_may_be_by_another_giver(ledger: MemoryLedger) -> None:
    name = running(ledger)
    give(ledger, order(Pause(rollout=name), key="k"), NOW)
    with pytest.raises(UsageError, match="another order"):
        give(ledger, order(Resume(rollout=name), key="k"), NOW)
    assert give(ledger, order(Resume(rollout=name), key="k", actor="bob"), NOW).changed


def test_a_refused_order_keeps_no_key_so_that_it_can_be_given_again(ledger: MemoryLedger) -> None:
    name = running(ledger)
    with pytest.raises(IllegalMove):
        give(ledger, order(Resume(rollout=name), key="k"), NOW)
    give(ledger, order(Pause(rollout=name)), NOW)
    assert give(ledger, order(Resume(rollout=name), key="k"), NOW).changed


# Approvals


def test_one_approval_lets_one_step_be_left_however_often_it_is_given(ledger: MemoryLedger) -> None:
    name = running(ledger)
    approve = Approve(rollout=name, step=0)
    assert give(ledger, order(approve), NOW).changed
    entered(ledger, name, 1)
    assert not give(ledger, order(approve), NOW).changed
    assert not give(ledger, order(approve, actor="bob"), NOW).changed
    assert ledger.rollout(name).approvals == {0: "ada"}


def test_a_step_that_was_left_without_approval_cannot_be_approved_any_more(ledger: MemoryLedger) -> None:
    name = running(ledger, plan=Plan.model_validate({"model": "m", "steps": [{"weight": 10}, {"weight": 50}]}))
    entered(ledger, name, 1)
    with pytest.raises(IllegalMove, match="has left step 1"):
        give(ledger, order(Approve(rollout=name, step=0)), NOW)
    with pytest.raises(IllegalMove):
        give(ledger, order(Approve(rollout=name, step=2)), NOW)


# What the giver saw


@pytest.mark.parametrize("act", [Pause, Abort, Promote])
def test_an_order_on_an_old_page_is_refused_without_a_trace(
    ledger: MemoryLedger, act: type[Pause | Abort | Promote]
) -> None:
    name = running(ledger)
    old = SeenRollout(rollout=name, seq=ledger.rollout(name).seq - 1)
    before = facts(ledger)
    with pytest.raises(PreconditionFailed, match="has changed since"):
        give(ledger, order(act(rollout=name), seen=old, key="k"), NOW)
    assert facts(ledger) == before
    now = SeenRollout(rollout=name, seq=ledger.rollout(name).seq)
    assert give(ledger, order(act(rollout=name), seen=now, key="k"), NOW).changed


def test_what_was_seen_is_held_against_its_rollout_alone_not_against_the_one_that_follows(ledger: MemoryLedger) -> None:
    name = running(ledger)
    give(ledger, order(Abort(rollout=name)), NOW)
    seen = SeenRollout(rollout=name, seq=ledger.rollout(name).seq)
    receipt = give(ledger, order(Retry(rollout=name), seen=seen), NOW)
    assert receipt.created
    assert receipt.rollout != name


# Wholly or not at all


def test_a_deploy_whose_audience_is_not_there_records_nothing(ledger: MemoryLedger) -> None:
    act = Deploy(model="m", variation="b", version="2", plan=None, shares=(Share(audience="nobody", weight=1),))
    before = facts(ledger)
    with pytest.raises(NotFound, match="nobody"):
        give(ledger, order(act, key="k"), NOW)
    assert facts(ledger) == before
    assert ledger.all_applied("traffic") == []


# Superseding


def test_a_newer_candidate_supersedes_the_one_under_way_and_those_that_wait(ledger: MemoryLedger) -> None:
    under_way = running(ledger)
    queued = giving.start(ledger, plan=PLAN, version="3", request=giving.Giver(), now=NOW).rollout.id
    newer = Plan.model_validate(PLAN.document() | {"on_newer": "supersede"})
    last = giving.start(ledger, plan=newer, version="4", request=giving.Giver(), now=NOW).rollout
    assert [ledger.rollout(name).ending for name in (under_way, queued)] == [Ending.SUPERSEDED] * 2
    assert ledger.rollout(queued).reason == f"superseded by {last.id}"
    assert last.phase is Phase.LAUNCHING


def test_a_refused_successor_supersedes_nobody(ledger: MemoryLedger) -> None:
    under_way = running(ledger)
    newer = Plan.model_validate(PLAN.document() | {"on_newer": "supersede"})
    with pytest.raises(Refused, match="older than stable"):
        giving.start(ledger, plan=newer, version="0", request=giving.Giver(), now=NOW)
    assert ledger.rollout(under_way).phase is Phase.RUNNING


# Names that no plan can have


@pytest.mark.parametrize("model", ["\x1f", "a/b", "a:b", "x" * 201, "a\\b", "\\"])
def test_a_build_of_a_model_whose_name_no_plan_can_have_is_refused_with_the_reason(
    ledger: MemoryLedger, model: str
) -> None:
    with pytest.raises(UsageError, match="without / and :"):
        give(ledger, order(Deploy(model=model, variation="default", version="1")), NOW)
    assert all(rollout != model for rollout, _ in facts(ledger))


@pytest.mark.parametrize(
    ("model", "why"), [(".", "cannot be part of a URL"), ("..", "another name"), ("\ud800", "unicode")]
)
@pytest.mark.parametrize("more", [{"variation": "default"}, {"variation": "b", "at_once": "because"}])
def test_a_name_that_no_url_can_carry_is_refused_whatever_puts_a_build_there(
    ledger: MemoryLedger, model: str, why: str, more: dict[str, str]
) -> None:
    before = facts(ledger)
    with pytest.raises(UsageError, match=why):
        give(ledger, order(Deploy(model=model, version="1", **more)), NOW)
    assert facts(ledger) == before


def test_a_variation_whose_name_no_plan_can_have_is_refused_beside_an_applied_plan(ledger: MemoryLedger) -> None:
    giving.apply_plan(ledger, PLAN, NOW)
    with pytest.raises(UsageError, match="lower-case letters"):
        give(ledger, order(Deploy(model="m", variation="No Good", version="1")), NOW)
