"""Whatever may change routes wakes the keeper."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sluicegate.flows.wiring.ringing import RingingLedger
from sluicegate.registry.audience.connections import Connections
from sluicegate.registry.plan.plan import Plan
from sluicegate.services.keeper.waking import Doorbell
from tests import giving as orders
from tests.giving import Giver, connect

NOW = datetime(2026, 11, 22, tzinfo=UTC)
PLAN = Plan.model_validate({"model": "m", "steps": [{"weight": 10}]})
ACTS: dict[str, Callable[[RingingLedger], object]] = {
    "an order": lambda ledger: orders.deploy(
        ledger, plan=PLAN, version="1", request=Giver(actor="ada", cause="cli"), now=NOW
    ),
    "connections": lambda ledger: connect(ledger, Connections(model="m"), "ada", NOW),
    "a withdrawal": lambda ledger: ledger.withdraw("traffic", "m", actor="ada", at=NOW),
}


@pytest.fixture
def bell(tmp_path: Path) -> Path:
    return tmp_path / "bell"


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_the_keeper_is_rung(bell: Path, act: Callable[[RingingLedger], object]) -> None:
    ledger = RingingLedger(f"sqlite:///{bell.parent / 'ledger.db'}", bell)
    connect(ledger, Connections(model="m"), "eve", NOW)
    doorbell = Doorbell(bell)
    try:
        act(ledger)
        _, waiting = doorbell.sockets()
        waiting.setblocking(False)
        assert waiting.recv(16) == b"look"
    finally:
        doorbell.close()
        ledger.close()
