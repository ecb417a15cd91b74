"""The console's doors to shadows: started by name of the strategy, refused where the plan has no such part."""

from __future__ import annotations

import pytest

from sluicegate.registry.documents.documents import plan_from_values
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
