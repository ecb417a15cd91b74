"""The console over many models: a stretch at a time, and nothing that waits for a person left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from starlette.testclient import TestClient

from sluicegate.registry.ledger.reading import Common
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.report.overview import Served
from sluicegate.registry.rollout.facts import Observed, Packed, Ready, StepEntered
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.services.console.app import create
from sluicegate.services.console.fleet import stretch
from sluicegate.services.console.pages import overview
from sluicegate.services.console.pages.views import waiting
from sluicegate.services.console.ports import Desk
from tests import giving as orders
from tests.giving import Giver
from tests.unit.console_office import BEARER, TOKEN, MemoryDesk, Office

WHO = Giver(actor="ada", cause="cli")
NOW = datetime.now(UTC) - timedelta(hours=1)
MODELS = [f"m{number:02}" for number in range(30)]


def under_way(office: Office, model: str, *, min_requests: int = 0) -> Rollout:
    """A canary that waits for approval once `min_requests` were served: its plan has no gates."""
    plan = Plan.model_validate({"model": model, "steps": [{"weight": 10, "min_requests": min_requests}]})
    first = orders.deploy(office.ledger, plan=plan, version="1", request=WHO, now=NOW).rollout
    _launched(office, first.id)
    orders.complete(office.ledger, first.id, NOW)
    tried = orders.start(office.ledger, plan=plan, version="2", request=WHO, now=NOW).rollout
    _launched(office, tried.id)
    _append(office, tried.id, StepEntered(step=0, weight=1000, actor="policy", reason="ready"))
    return _append(office, tried.id, Observed(epoch=office.ledger.rollout(tried.id).epoch, version="t"))


def _launched(office: Office, name: str) -> None:
    for fact in (Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version="2")):
        _append(office, name, fact)


def _append(office: Office, name: str, fact: Packed | Ready | StepEntered | Observed) -> Rollout:
    return office.ledger.append(name, office.ledger.rollout(name).seq + 1, fact, NOW)


@pytest.fixture
def office() -> Office:
    made = Office()
    for model in MODELS:
        under_way(made, model)
    return made


def browser(desk: Desk) -> TestClient:
    client = TestClient(create(desk, hosts=["127.0.0.1"]), base_url="http://127.0.0.1")
    client.post("/login", data={"token": TOKEN, "name": "ada"})
    return client


def test_stretches_follow_one_another_and_leave_no_model_out(office: Office) -> None:
    seen: list[str] = []
    after = None
    while True:
        found = stretch(office.ledger, after=after, limit=7)
        assert (found.first, found.total) == (len(seen) + 1, 30)
        seen += found.models
        after = found.next_after
        if after is None:
            break
    assert seen == MODELS


def test_the_api_gives_what_serves_whom_page_by_page(office: Office) -> None:
    asked: list[list[str]] = []

    class Noting(MemoryDesk):
        def overview(self, models: Collection[str]) -> tuple[Served, ...]:
            asked.append(list(models))
            return ()

    client = browser(Noting(ledger=office.ledger))
    first = client.get("/api/v1/overview?limit=29", headers=BEARER).json()
    rest = client.get(f"/api/v1/overview?limit=29&after={first['next_after']}", headers=BEARER).json()
    assert (asked[-2:], rest["next_after"]) == ([MODELS[:29], MODELS[29:]], None)
    assert client.get("/api/v1/overview?limit=0", headers=BEARER).json()["next_after"] is None


def test_a_page_lists_some_and_leads_to_the_others(office: Office) -> None:
    client = browser(office.desk)
    page = client.get("/").text
    assert "Models 1 to 25 of 30" in page
    assert '<a href="/?after=m24">Next models</a>' in page
    assert "The newest 25 of 30." in page
    assert "Models 26 to 30 of 30" in client.get("/?after=m24").text
    assert 'Rollouts <span class="count">30</span>' in client.get("/rollouts?state=under+way").text


def test_all_that_wait_for_a_person_are_counted_and_the_newest_are_listed(office: Office) -> None:
    needs = browser(office.desk).get("/").text.split("Needs you", 1)[1].split("</section>", 1)[0]
    assert '<span class="count">30</span>' in needs
    assert [model for model in MODELS if f"{model} v1 → v2" in needs] == MODELS[-overview.ROLLOUTS :]
    assert "The newest 25 of 30 rollouts that need somebody." in needs


def test_what_concerns_all_rollouts_is_read_once_for_a_page(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    client, read = browser(office.desk), Counter[str]()
    recall, all_applied = office.ledger.recall, office.ledger.all_applied
    monkeypatch.setattr(office.ledger, "recall", lambda key: read.update([key]) or recall(key))
    monkeypatch.setattr(office.ledger, "all_applied", lambda kind: read.update([kind]) or all_applied(kind))
    client.get("/")
    assert read["readiness"] == read["freeze"] == 1
    assert max(read.values()) < 5, read


def test_nobody_is_called_for_a_step_that_has_not_had_its_requests() -> None:
    alone = Office()
    short, enough = (under_way(alone, name, min_requests=n) for name, n in (("a", 11), ("b", 10)))
    found = waiting(alone.desk, [short, enough], Common(alone.ledger))
    assert [view.id for view in found] == [enough.id], "10 of 11"
    paused = orders.pause(alone.ledger, short.id, actor="ada", reason="lunch", now=NOW)
    assert [view.id for view in waiting(alone.desk, [paused], Common(alone.ledger))] == [paused.id]


def test_requests_are_counted_for_what_is_listed_only(office: Office) -> None:
    counted: list[str] = []

    class Counting(MemoryDesk):
        def requests(self, rollouts: Sequence[Rollout]) -> Mapping[str, tuple[int, int]]:
            counted.extend(rollout.id for rollout in rollouts)
            return super().requests(rollouts)

    for model in MODELS:
        tried = office.ledger.rollouts(Selection(model=model))[-1]
        orders.pause(office.ledger, tried.id, actor="ada", reason="lunch", now=NOW)
    client = browser(Counting(ledger=office.ledger))
    counted.clear()
    assert "Paused by ada:</strong> lunch" in client.get("/").text
    assert len(counted) == overview.ROLLOUTS
