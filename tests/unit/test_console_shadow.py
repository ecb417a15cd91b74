"""The console's doors to shadows: started by name of the strategy, refused where the plan has no such part."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests import giving as orders
from tests.giving import Giver
from tests.plans import plan_from_values
from tests.unit.console_office import TOKEN, Office


@pytest.fixture
def office(monkeypatch: pytest.MonkeyPatch) -> Office:
    shadowed = plan_from_values(
        {"kind": "plan", "model": "m", "shadow": {"sample": 20, "max_time": "1h"}, "steps": [{"weight": 10}]}, where="p"
    )
    monkeypatch.setattr("tests.unit.console_office.PLAN", shadowed)
    made = Office()
    made.running()
    return made


def test_a_shadow_is_started_by_the_name_of_its_strategy(office: Office) -> None:
    bearer = {"authorization": f"Bearer {TOKEN}"}
    body = {"model": "m", "build": "7", "strategy": "shadow"}
    started = office.client.post("/api/v1/rollouts", json=body, headers=bearer)
    assert (started.status_code, started.json()["strategy"]) == (201, "shadow"), started.text
    refused = office.client.post("/api/v1/rollouts", json=body | {"strategy": "shade"}, headers=bearer)
    assert refused.status_code == 422


def test_the_page_of_a_shadow_leads_to_the_canary_that_followed_and_speaks_of_no_promotion(office: Office) -> None:
    bearer = {"authorization": f"Bearer {TOKEN}"}
    body = {"model": "m", "build": "7", "strategy": "shadow"}
    shadow = office.client.post("/api/v1/rollouts", json=body, headers=bearer).json()["id"]
    office.client.post(f"/api/v1/rollouts/{shadow}/abort", json={"reason": "enough"}, headers=bearer)
    office.client.post("/login", data={"token": TOKEN, "name": "ada"})
    page = office.client.get(f"/rollouts/{shadow}").text
    assert ("Steps of the plan" in page, 'details class="act retry' in page, "Followed by" in page) == (False,) * 3
    plan = plan_from_values({"kind": "plan", "model": "m", "steps": [{"weight": 10}]}, where="p")
    by_shadow = Giver(actor="driver", cause=f"shadow:{shadow}", follows=shadow)
    now = datetime(2026, 6, 1, tzinfo=UTC)
    canary = orders.start(office.ledger, plan=plan, version="7", request=by_shadow, now=now).rollout
    assert f'<a href="/rollouts/{canary.id}">the canary of v7</a>' in office.client.get(f"/rollouts/{shadow}").text


def test_rollouts_are_filtered_by_state_and_searched(office: Office) -> None:
    rollout = office.ledger.rollouts()[-1]
    office.client.post("/login", data={"token": TOKEN, "name": "ada"})
    link, state = f'href="/rollouts/{rollout.id}"', (rollout.ending or rollout.phase).value
    queries = {f"state={state}": True, f"q={rollout.id}": True, "state=aborted": False, "q=zebra": False}
    assert {query: link in office.client.get(f"/rollouts?{query}").text for query in queries} == queries
