"""Variations: slots of a model that hold a build each, who is sent to them, and what their orders refuse."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from registry import orders
from registry.errors import NotFound, TargetBusy
from registry.facts import Packed, Promoted, Ready
from registry.ledger.memory import MemoryLedger
from registry.orders import Request
from registry.plan import Plan
from registry.rollout import Phase
from registry.standing import standings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WHO = Request(actor="ada", cause="cli")


def plan(variation: str = "default") -> Plan:
    return Plan.model_validate({"model": "m", "variation": variation, "steps": [{"weight": 10}, {"weight": 50}]})


def launched(ledger: MemoryLedger, rollout_id: str) -> None:
    """The rollout, packed and ready."""
    for fact in (Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version="1")):
        ledger.append(rollout_id, ledger.rollout(rollout_id).seq + 1, fact, NOW)


def deployed(ledger: MemoryLedger, version: str, variation: str = "default") -> None:
    """A variation that holds a first build."""
    first = orders.deploy(ledger, plan=plan(variation), version=version, request=WHO, now=NOW).rollout
    launched(ledger, first.id)
    orders.complete(ledger, first.id, NOW)


# --- at once, and away -----------------------------------------------------------------------------------------------


def test_a_build_that_is_put_in_at_once_is_the_override_of_who_asked() -> None:
    ledger = MemoryLedger()
    deployed(ledger, "1")
    started = orders.replace(ledger, plan=plan(), version="2", reason="hotfix", request=WHO, now=NOW)
    launched(ledger, started.rollout.id)
    done = orders.complete(ledger, started.rollout.id, NOW)
    assert done.phase is Phase.BAKING
    (fact,) = [entry.fact for entry in ledger.entries(done.id) if isinstance(entry.fact, Promoted)]
    assert (fact.override, fact.actor) == (True, WHO.actor)
    assert "hotfix" in fact.reason
    assert orders.stable(ledger, "m", "default") == "2"


def test_at_once_does_not_push_a_rollout_aside() -> None:
    ledger = MemoryLedger()
    deployed(ledger, "1")
    held = orders.start(ledger, plan=plan(), version="2", request=WHO, now=NOW).rollout
    with pytest.raises(TargetBusy, match=held.id):
        orders.replace(ledger, plan=plan(), version="3", reason="now", request=WHO, now=NOW)


def test_an_undeployed_variation_is_empty_until_a_first_build_is_deployed_anew() -> None:
    ledger = MemoryLedger()
    deployed(ledger, "1")
    gone = orders.undeploy(ledger, model="m", variation="default", actor="ada", reason="done", now=NOW)
    assert (gone.undeployed, gone.settled, gone.actor) == (True, False, "ada")
    assert standings(ledger.rollouts()) == ()
    with pytest.raises(NotFound):
        orders.undeploy(ledger, model="m", variation="default", actor="ada", reason="done", now=NOW)
    deployed(ledger, "1")
    assert orders.stable(ledger, "m", "default") == "1"


def test_a_variation_with_a_rollout_under_way_is_not_undeployed() -> None:
    ledger = MemoryLedger()
    deployed(ledger, "1")
    held = orders.start(ledger, plan=plan(), version="2", request=WHO, now=NOW).rollout
    with pytest.raises(TargetBusy, match=held.id):
        orders.undeploy(ledger, model="m", variation="default", actor="ada", reason="done", now=NOW)
