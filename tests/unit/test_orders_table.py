"""Every order in every phase: it does what it says, or refuses with a reason and what to do instead."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.facts import Failed, Packed, Ready, StepEntered
from sluicegate.registry.rollout.rollout import Ending, Phase, Rollout
from sluicegate.registry.words.errors import Refused
from tests import giving as orders
from tests.doubles.ledger import MemoryLedger
from tests.giving import Giver

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WHO = Giver(actor="ada", cause="cli")
PLAN = Plan.model_validate({"model": "m", "steps": [{"weight": 10}, {"weight": 50}]})

STATES = ("queued", "launching", "ready", "running", "paused", "paused early", "baking", "promoted", "aborted",
          "failed", "superseded", "established")  # fmt: skip


class House:
    """A ledger in which one rollout is in the state of this name."""

    def __init__(self, state: str) -> None:
        self.ledger, self.now = MemoryLedger(), NOW
        self.first = self.started(orders.deploy(self.ledger, plan=PLAN, version="1", request=WHO, now=NOW).rollout.id)
        orders.complete(self.ledger, self.first, NOW)
        self.name = self.first if state == "established" else self._second(state)

    def started(self, name: str) -> str:
        for fact in (Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version="x")):
            orders.append(self.ledger, name, lambda _, fact=fact: fact, NOW)
        return name

    def _second(self, state: str) -> str:
        if state == "queued":
            orders.start(self.ledger, plan=PLAN, version="2", request=WHO, now=NOW)
            return orders.start(self.ledger, plan=PLAN, version="3", request=WHO, now=NOW).rollout.id
        name = orders.start(self.ledger, plan=PLAN, version="2", request=WHO, now=NOW).rollout.id
        return name if state == "launching" else self._moved(name, state)

    def _moved(self, name: str, state: str) -> str:
        if state == "superseded":
            newer = Plan.model_validate(PLAN.document() | {"on_newer": "supersede"})
            orders.start(self.ledger, plan=newer, version="3", request=WHO, now=NOW)
            return name
        if state == "failed":
            orders.append(self.ledger, name, lambda _: Failed(stage="pack", reason="no"), NOW)
            return name
        self.started(name)
        if state == "paused early":
            orders.pause(self.ledger, name, actor="ada", reason="wait", now=NOW)
        if state in ("ready", "paused early"):
            return name
        orders.append(self.ledger, name, lambda _: StepEntered(step=0, weight=1000, actor="d", reason="ready"), NOW)
        if state == "paused":
            orders.pause(self.ledger, name, actor="ada", reason="wait", now=NOW)
        if state == "aborted":
            orders.abort(self.ledger, name, actor="ada", reason="no", now=NOW)
        if state in ("baking", "promoted"):
            orders.promote(self.ledger, name, actor="ada", reason="sure", now=NOW)
        if state == "promoted":
            back = orders.roll_back(
                self.ledger, model="m", variation="default", version="1", reason="x", request=WHO, now=NOW
            )
            assert back.created
        return name

    def order(self, act: str) -> Rollout:
        later = self.now + timedelta(minutes=1)
        if act == "roll back":
            asked = {"model": "m", "variation": "default", "version": None, "reason": "x", "request": WHO}
            return orders.roll_back(self.ledger, **asked, now=later).rollout
        give: Callable[..., Rollout] = getattr(orders, act)
        step = {"step": 1} if act == "jump" else {}
        return give(self.ledger, self.name, **step, actor="bob", reason="because", now=later)


AT_ONCE = {
    "pause": {"launching", "ready", "running", "paused", "paused early"},
    "resume": {"paused", "paused early"},
    "approve": {"running", "paused"},
    "jump": {"running"},
    "promote": {"ready", "running", "paused", "paused early", "baking", "promoted", "established"},
    "abort": {"queued", "launching", "ready", "running", "paused", "paused early", "baking", "aborted"},
    "retry": {"aborted", "failed", "superseded"},
    "roll back": {"baking"},
}
"""The states in which an order does something, or what it asks for is so already. In all others it is refused."""


@pytest.mark.parametrize("act", AT_ONCE)
@pytest.mark.parametrize("state", STATES)
def test_an_order_works_or_refuses_with_its_reason(state: str, act: str) -> None:
    house = House(state)
    before = house.ledger.position()
    if state in AT_ONCE[act]:
        after = house.order(act)
        assert after.requested.model == "m"
        return
    with pytest.raises(Refused) as refused:
        house.order(act)
    assert house.ledger.position() == before, "a refused order leaves no trace"
    assert len(refused.value.message) > 20
    assert refused.value.fix, f"{refused.value.message} says no way out"


@pytest.mark.parametrize("state", STATES)
def test_the_console_offers_what_is_possible_and_nothing_else(state: str) -> None:
    from sluicegate.services.console.pages.effects import possible

    house = House(state)
    rollout = house.ledger.rollout(house.name)
    offered = {act for act, states in AT_ONCE.items() if state in states} - {"roll back"}
    said_already = {"pause"} if rollout.phase is Phase.PAUSED else set()
    said_already |= {"promote"} if rollout.took_over else set()
    said_already |= {"abort"} if rollout.ending is Ending.ABORTED else set()
    assert set(possible(rollout)) == offered - said_already


def test_a_retry_is_a_new_rollout_by_the_plan_applied_now_and_asked_twice_it_is_one() -> None:
    house = House("aborted")
    again = house.order("retry")
    assert (again.phase, again.requested.version) == (Phase.LAUNCHING, "2")
    assert again.requested.cause.startswith(f"retry of {house.name}")
    assert house.order("retry").id == again.id
    assert house.ledger.rollout(house.name).ending is Ending.ABORTED


def test_a_failed_first_build_is_tried_again_as_one() -> None:
    ledger = MemoryLedger()
    name = orders.deploy(ledger, plan=PLAN, version="1", request=WHO, now=NOW).rollout.id
    orders.append(ledger, name, lambda _: Failed(stage="pack", reason="no"), NOW)
    again = orders.retry(ledger, name, actor="bob", reason="disk was full", now=NOW)
    assert (again.requested.strategy, again.phase) == ("deploy", Phase.LAUNCHING)
