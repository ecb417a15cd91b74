"""What pages, lists and scrapes cost: as many statements for many models, audiences and rollouts under way as for a
few, and a page of models as much work however many models there are beside those that it shows."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine, event
from starlette.testclient import TestClient

from benchmarks.history import facts_of, plan_of
from sluicegate.flows.wiring.desk import LocalDesk
from sluicegate.flows.wiring.runtime import Runtime
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.record import Changes, Receipt
from sluicegate.registry.orders.connections_record import KIND
from sluicegate.registry.rollout.facts import Entry
from sluicegate.registry.words.settings import Settings
from sluicegate.services.console.app import create
from sluicegate.services.console.pages import search
from sluicegate.services.telemetry.tailing.backlog import Backlog
from tests import giving as orders
from tests.unit.console_office import BEARER, TOKEN, FirstBuilds

HERE = Path(__file__).parents[2]
SHOWN = 25
"""Models on the first page."""
FEW, MANY = 2, 12
"""Models; and as many audiences, rollouts under way, tokens and documents of each kind."""
OURS = (f"{HERE}/sluicegate/", "<string>")
"""Our code, and what dataclasses make, whose objects are counted."""
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


def work(act: Callable[[], object]) -> Counter[str]:
    """How often each of our own functions is called, in threads that start meanwhile too. Counts the second time: the
    first one reads what is kept for the next."""
    act()
    calls = Counter[str]()

    def note(frame: FrameType, happened: str, _: object) -> None:
        code = frame.f_code
        if happened == "call" and code.co_filename.startswith(OURS):
            calls[f"{code.co_filename.removeprefix(str(HERE))} {code.co_qualname}"] += 1

    threading.setprofile(note)
    try:
        act()
    finally:
        threading.setprofile(None)  # type: ignore[arg-type]
    return calls


class Site:
    """A machine with so many of everything; no process runs there."""

    def __init__(self, folder: Path) -> None:
        self.runtime = Runtime(Settings.read({"SLUICE_STATE": str(folder), "HOME": str(folder)}))
        backlog = Backlog(unread_bytes=0, read_at=None)
        known = {"envoys": {}, "fleet": SimpleNamespace(endpoints=dict), "catalog": FirstBuilds()}
        self.runtime.__dict__.update(known, backlog=lambda: backlog)
        self.desk = LocalDesk(runtime=self.runtime, ledger=self.runtime.ledger, admin_token=TOKEN)
        self._client = TestClient(create(self.desk, hosts=["127.0.0.1"]), base_url="http://127.0.0.1")

    def fill(self, many: int) -> None:
        """Record so many of everything."""
        roll_out(self.runtime.ledger, many, under_way=many)
        for number in range(many):
            self._apply(kind="audience", name=f"aud-{number}", when={"x-state": f"S{number}"})
            self._apply(kind="notification", name=f"n-{number}", send="webhook")
            self._apply(kind="policy", name=f"p-{number}", models=["elsewhere"], certified=True)
            self._send("/api/v1/tokens", {"name": f"t{number}", "role": "viewer"})
        for number in range(many):
            sent = [{"audience": f"aud-{each}", "weights": {"default": 1}} for each in range(many)]
            self._apply(kind="connections", model=f"model-{number}", audiences=sent)

    def fill_with_models(self, many: int) -> None:
        """Record so many models, each with connections, and as few rollouts under way as there always are."""
        roll_out(self.runtime.ledger, many, under_way=FEW)
        self._apply(kind="audience", name="aud-0", when={"x-state": "S0"})
        sent = [{"audience": "aud-0", "weights": {"default": 1}}]
        self._apply(kind="connections", model="model-0", audiences=sent)
        first = self.runtime.ledger.all_applied(KIND)[0]
        for model in (f"model-{number}" for number in range(1, many)):
            self.runtime.ledger.apply(replace(first, name=model, body={**first.body, "model": model}))

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


def roll_out(ledger: Ledger, many: int, *, under_way: int) -> None:
    """Models with a stable build, a rollout that was aborted, and so many of them with one that is under way."""
    began = datetime.now(UTC) - timedelta(hours=3)
    entries: list[Entry] = []
    for number in range(many):
        model = f"model-{number}"
        orders.apply_plan(ledger, plan_of(model), began)
        tried = ((1, "deploy", None), (2, "canary", None), (3, "canary", 5))
        for version, strategy, most in tried if number < under_way else tried[:2]:
            at = began + timedelta(minutes=version)
            facts = list(facts_of(model, version, strategy))[:most]
            entries += [
                Entry(rollout=f"{model}-v{version}", seq=seq, at=at + timedelta(seconds=seq), fact=fact)
                for seq, fact in enumerate(facts)
            ]
    ledger.commit(lambda _: Changes(entries=tuple(entries), receipt=Receipt()))


def test_nothing_asks_more_often_where_there_are_more(tmp_path: Path, statements: Statements) -> None:
    sites = {count: Site(tmp_path / str(count)) for count in (FEW, MANY)}
    for count, site in sites.items():
        site.fill(count)
    few, many = (site.acts() for site in sites.values())
    grown = {
        name: (before, after)
        for name, act in few.items()
        if (before := statements.of(act)) < (after := statements.of(many[name]))
    }
    assert grown == {}


@pytest.mark.parametrize(
    "path", ["/", f"/api/v1/overview?limit={SHOWN}", "/search?q=model", "/rollouts/model-1-v3", "/rollouts/model-1-v2"]
)
def test_a_page_is_no_more_work_where_there_are_more_models(
    tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "LATELY", SHOWN)
    counted = []
    for count in (SHOWN + 5, 3 * SHOWN):
        site = Site(tmp_path / str(count))
        site.fill_with_models(count)
        counted.append(work(lambda site=site: site.ask(path)))  # type: ignore[misc]
    few, many = counted
    assert sum(few.values()) > SHOWN, "what is counted is counted"
    assert many - few == Counter()
