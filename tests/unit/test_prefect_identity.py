"""Runs that are started in Prefect act as `prefect`, with the role that an admin gave it, and nobody else's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from sluicegate.flows.driver.identity import order_as_prefect
from sluicegate.registry.ledger.attempt import last_attempt
from sluicegate.registry.orders.order import Abort, Act, Approve, Pause, Promote, Start
from sluicegate.registry.rollout.facts import Party
from sluicegate.registry.rollout.rollout import Ending, Phase
from sluicegate.registry.words.errors import Forbidden
from sluicegate.services.keeper.drivers import PrefectDrivers
from tests.unit.console_office import BEARER, PLAN, Office
from tests.unit.test_drivers import FakePrefect

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def office() -> Office:
    return Office()


def runtime(office: Office) -> Any:
    return SimpleNamespace(ledger=office.ledger, calls=office.desk.calls, clock=lambda: NOW)


def let_prefect(office: Office, role: str) -> None:
    answer = office.client.put("/api/v1/roles/prefect", headers=BEARER | {"x-sluice-actor": "ada"}, json={"role": role})
    assert (answer.status_code, answer.json()) == (200, {"role": role})


@pytest.mark.parametrize("act", [Approve, Promote])
def test_what_needs_an_approver_is_refused_until_an_admin_lets_prefect(office: Office, act: type[Act]) -> None:
    rollout = office.running()
    wanted = Approve(rollout=rollout.id, step=0) if act is Approve else Promote(rollout=rollout.id)
    with pytest.raises(Forbidden, match="needs the role approver; prefect:ann has the role operator") as refused:
        order_as_prefect(runtime(office), wanted, who="ann")
    assert "sluice token prefect approver" in (refused.value.fix or "")
    assert office.ledger.rollout(rollout.id) == rollout
    let_prefect(office, "approver")
    after = order_as_prefect(runtime(office), wanted, who="ann", why="it looks well")
    assert office.ledger.entries(rollout.id)[-1].fact.actor == "prefect:ann"
    assert after.seq == rollout.seq + 1
    let_prefect(office, "operator")
    with pytest.raises(Forbidden):
        order_as_prefect(runtime(office), Promote(rollout=rollout.id), who="bob")


def test_a_refused_run_stands_beside_the_refused_calls(office: Office) -> None:
    rollout = office.running()
    with pytest.raises(Forbidden):
        order_as_prefect(runtime(office), Promote(rollout=rollout.id), who="ann")
    (call,) = office.desk.calls.latest(limit=9)
    assert (call.actor, call.role, call.method, call.status) == ("prefect:ann", "operator", "RUN", 403)


def test_an_operator_s_orders_go_through_in_the_name_of_prefect(office: Office) -> None:
    rollout = office.running()
    assert order_as_prefect(runtime(office), Pause(rollout=rollout.id), who="prefect").actor == "prefect"
    ended = order_as_prefect(runtime(office), Abort(rollout=rollout.id), who="admin")
    assert (ended.ending, ended.actor) == (Ending.ABORTED, "prefect:admin"), "a name of the form is a claim"


def test_a_viewer_gives_no_order_and_starts_nothing(office: Office) -> None:
    rollout = office.running()
    let_prefect(office, "viewer")
    start = Start(model="m", variation="default", version="3", plan=PLAN)
    for act, party in ((Abort(rollout=rollout.id), Party.PERSON), (start, Party.PREFECT)):
        with pytest.raises(Forbidden, match="needs the role operator"):
            order_as_prefect(runtime(office), act, who="prefect", party=party)
    assert [each.id for each in office.ledger.rollouts()][-1] == rollout.id


@pytest.mark.parametrize(("role", "phase"), [("operator", Phase.PAUSED), ("viewer", Phase.RUNNING)])
def test_cancelling_a_run_is_an_order_too(office: Office, role: str, phase: Phase) -> None:
    rollout = office.running()
    let_prefect(office, role)
    prefect = FakePrefect()
    drivers = PrefectDrivers(office.ledger, prefect.client())
    drivers.ensure([rollout], NOW + timedelta(minutes=1))
    first = last_attempt(office.ledger, rollout.id)
    assert first is not None
    prefect.put(first.run, "CANCELLED")
    drivers.ensure([rollout], NOW + timedelta(minutes=2))
    assert office.ledger.rollout(rollout.id).phase is phase


@pytest.mark.parametrize("role", ["reporter", "admin", "king", ""])
def test_a_role_that_prefect_cannot_have_is_refused(office: Office, role: str) -> None:
    assert office.client.put("/api/v1/roles/prefect", headers=BEARER, json={"role": role}).status_code == 422
    assert office.client.get("/api/v1/tokens", headers=BEARER).json()["prefect"] == "operator"


def test_nobody_else_gets_the_name(office: Office) -> None:
    answer = office.client.post("/api/v1/tokens", headers=BEARER, json={"name": "prefect", "role": "approver"})
    assert (answer.status_code, answer.json()["title"]) == (409, "Refused")
    assert "sluice token prefect" in answer.json()["fix"]
