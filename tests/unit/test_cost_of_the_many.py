"""What pages, lists and scrapes ask of the databases: as many statements for many models, audiences and rollouts under
way as for a few."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine, event
from starlette.testclient import TestClient

from benchmarks.history import facts_of, plan_of
from sluicegate.flows.wiring.desk import LocalDesk
from sluicegate.flows.wiring.runtime import Runtime
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.record import Changes, Receipt
from sluicegate.registry.rollout.facts import Entry
from sluicegate.registry.words.settings import Settings
from sluicegate.services.console.app import create
from sluicegate.services.telemetry.tailing.backlog import Backlog
from tests import giving as orders
from tests.unit.console_office import BEARER, TOKEN, FirstBuilds

FEW, MANY = 2, 12
"""Models; and as many audiences, rollouts under way, tokens and documents of each kind."""
LISTS = (
    "/", "/rollouts", "/rollouts?state=under way", "/activity", "/experiments", "/audiences", "/access", "/health",
    "/search?q=model", "/models/model-0", "/rollouts/model-0-v3", "/rollouts/model-0-v2",
)  # fmt: skip
CALLS = (
    "rollouts", "overview", "experiments", "audiences", "audiences/aud-0", "documents", "documents?kind=connections",
    "variations", "models/model-0/connections", "models/model-0/builds", "proposals", "tokens", "calls", "counts",
    "rollouts/model-0-v3", "rollouts/model-0-v3/report",
)  # fmt: skip


@dataclass
class Statements:
    """Counts what any database of this process is asked."""

    counted: int = field(default=0, init=False)

    def note(self, *_: object) -> None:
        self.counted += 1

    def of(self, act: Callable[[], object]) -> int:
        """The second time: the first one makes and migrates what is not there yet."""
        act()
        self.counted = 0
        act()
        return self.counted


@pytest.fixture
def statements() -> Iterator[Statements]:
    counts = Statements()
    event.listen(Engine, "before_cursor_execute", counts.note)
    yield counts
    event.remove(Engine, "before_cursor_execute", counts.note)


class Site:
    """A machine with so many of everything; no process runs there."""

    def __init__(self, folder: Path, many: int) -> None:
        self.runtime = Runtime(Settings.read({"SLUICE_STATE": str(folder), "HOME": str(folder)}))
        backlog = Backlog(unread_bytes=0, read_at=None)
        known = {"envoys": {}, "fleet": SimpleNamespace(endpoints=dict), "catalog": FirstBuilds()}
        self.runtime.__dict__.update(known, backlog=lambda: backlog)
        self.desk = LocalDesk(runtime=self.runtime, ledger=self.runtime.ledger, admin_token=TOKEN)
        self._client = TestClient(create(self.desk, hosts=["127.0.0.1"]), base_url="http://127.0.0.1")
        roll_out(self.runtime.ledger, many)
        for number in range(many):
            self._apply(kind="audience", name=f"aud-{number}", when={"x-state": f"S{number}"})
            self._apply(kind="notification", name=f"n-{number}", send="webhook")
            self._apply(kind="policy", name=f"p-{number}", models=["elsewhere"], certified=True)
            self._send("/api/v1/tokens", {"name": f"t{number}", "role": "viewer"})
        for number in range(many):
            sent = [{"audience": f"aud-{each}", "weights": {"default": 1}} for each in range(many)]
            self._apply(kind="connections", model=f"model-{number}", audiences=sent)

    def _apply(self, **values: Any) -> None:
        self._send("/api/v1/documents", {"values": values})

    def _send(self, path: str, body: object) -> None:
        answer = self._client.post(path, json=body, headers=BEARER)
        assert answer.status_code < 300, answer.text

    def ask(self, path: str) -> None:
        answer = self._client.get(path, headers=BEARER)
        assert answer.status_code == 200, (path, answer.text)

    def acts(self) -> dict[str, Callable[[], object]]:
        """What is asked again and again, by name."""
        pages = {path: lambda path=path: self.ask(path) for path in (*LISTS, *(f"/api/v1/{call}" for call in CALLS))}
        return pages | {  # type: ignore[return-value]
            "a scrape": self.desk.metrics,
            "who waits for a person": lambda: self.runtime.readings.waiting(self.desk.clock()),
        }


def roll_out(ledger: Ledger, many: int) -> None:
    """Models with a stable build, a rollout that was aborted, and one that is under way."""
    began = datetime.now(UTC) - timedelta(hours=3)
    entries: list[Entry] = []
    for model in (f"model-{number}" for number in range(many)):
        orders.apply_plan(ledger, plan_of(model), began)
        for version, strategy, most in ((1, "deploy", None), (2, "canary", None), (3, "canary", 5)):
            at = began + timedelta(minutes=version)
            facts = list(facts_of(model, version, strategy))[:most]
            entries += [
                Entry(rollout=f"{model}-v{version}", seq=seq, at=at + timedelta(seconds=seq), fact=fact)
                for seq, fact in enumerate(facts)
            ]
    ledger.commit(lambda _: Changes(entries=tuple(entries), receipt=Receipt()))


def test_nothing_asks_more_often_where_there_are_more(tmp_path: Path, statements: Statements) -> None:
    few, many = (Site(tmp_path / str(count), count).acts() for count in (FEW, MANY))
    grown = {
        name: (before, after)
        for name, act in few.items()
        if (before := statements.of(act)) < (after := statements.of(many[name]))
    }
    assert grown == {}
