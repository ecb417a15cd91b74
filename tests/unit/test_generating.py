"""Generating: the pace, who wants it, what is sent, and what stops it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from sluicegate.flows.cli.tree import tree
from sluicegate.flows.rehearsal.captured import Captured
from sluicegate.flows.rehearsal.generating import AT_ONCE, Generating, Pace, Room, headers_of
from sluicegate.flows.wiring.generator import findings
from sluicegate.registry.ledger.reading import read_for_views
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.report.report import Evidence
from sluicegate.registry.report.view import rollout_view
from sluicegate.registry.rollout.facts import Aborted, Observed, Paused, StepEntered
from sluicegate.registry.rollout.freeze import Freeze
from sluicegate.registry.rollout.generating import generating
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import Unreachable, UsageError
from sluicegate.services.telemetry.store.store import Store
from tests.plans import read_plan
from tests.unit.console_office import TOKEN, MemoryDesk, Office
from tests.unit.test_replay_first import NOW, Stand, answers

PAGE = Path(__file__).parents[2] / "docs/how-to/write-a-plan.md"
EVEN = answers(lambda x: "even")
ERRORS = {"metrics": {"errors": {"source": "status"}}, "gates": [{"metric": "errors", "below": "5%"}], "replay": None}
ASKED = ERRORS | {"generate": {"rate": "20/s"}}
REQUESTS = tuple(Captured(rid=f"r{x}", body=b"{}") for x in range(3))


def running(**plan: Any) -> tuple[Stand, Rollout]:
    stand = Stand(EVEN, EVEN, **(ASKED | plan))
    name = stand.ready().id
    facts = (StepEntered(step=0, weight=1000, actor="driver", reason="x"), Observed(epoch=1, version="v"))
    return stand, stand.facts(name, *facts)


class Sent:
    """A generator whose time, record and requests are set by hand."""

    def __init__(self, rollouts: Callable[[], Sequence[Rollout]], requests: Sequence[Captured] = REQUESTS) -> None:
        self.second, self.rids, self.has_room = 0.0, list[str](), True
        self.generating = Generating(
            wanted=rollouts, requests=lambda _: requests, send=lambda _, request: self.rids.append(request.rid),
            hand=self._hand, elapsed=lambda: self.second,
        )  # fmt: skip

    def _hand(self, work: Callable[[], None]) -> bool:
        if self.has_room:
            work()
        return self.has_room

    def run(self, seconds: float) -> int:
        before = len(self.rids)
        for _ in range(round(seconds / 0.02)):
            self.second += 0.02
            self.generating.turn()
        return len(self.rids) - before


@pytest.mark.parametrize("rate", [0.5, 3.0, 20.0, 333.0, 1000.0])
def test_the_pace_is_the_plans(rate: float) -> None:
    pace = Pace(rate)
    pace.due(0.0)
    assert sum(pace.due(turn / 50) for turn in range(1, 1001)) == pytest.approx(20 * rate, abs=1)


def test_what_was_not_sent_in_time_is_dropped() -> None:
    pace = Pace(100.0)
    pace.due(0.0)
    assert pace.due(60.0) == 10
    assert pace.due(59.0) == 0
    assert pace.due(59.1) == 10


def test_requests_go_in_turn_and_one_without_room_never_comes_back() -> None:
    _, rollout = running()
    sent = Sent(lambda: (rollout,))
    assert sent.run(1) in (19, 20)
    assert sent.rids[:4] == ["r0", "r1", "r2", "r0"]
    sent.has_room = False
    sent.run(5)
    sent.has_room = True
    assert sent.run(1) in (19, 20, 21)


def test_room_has_no_line_before_it() -> None:
    import threading

    release, room = threading.Event(), Room(AT_ONCE)
    try:
        assert [room(lambda: release.wait(30) and None) for _ in range(AT_ONCE + 2)] == [True] * AT_ONCE + [False] * 2
    finally:
        release.set()


@pytest.mark.parametrize(
    "fact",
    [Aborted(actor="ada", reason="x"), Paused(actor="ada", reason="x")],
    ids=["abort", "pause"],
)
def test_an_abort_or_a_pause_stops_it_within_a_second(fact: Aborted | Paused) -> None:
    stand, rollout = running()
    sent = Sent(lambda: generating(stand.ledger.current(), (), NOW))
    assert sent.run(2) > 30
    stand.facts(rollout.id, fact)
    sent.run(1)
    assert sent.run(5) == 0


def test_a_record_that_cannot_be_read_stops_it_and_none_captured_sends_nothing() -> None:
    _, rollout = running()
    rollouts: list[Rollout] = [rollout]

    def wanted() -> Sequence[Rollout]:
        if not rollouts:
            raise Unreachable("the ledger is away.")
        return rollouts

    sent = Sent(wanted)
    sent.run(2)
    rollouts.clear()
    sent.run(1)
    assert sent.run(5) == 0
    assert Sent(lambda: (rollout,), ()).run(10) == 0


def test_one_file_that_cannot_be_read_stops_no_other() -> None:
    _, rollout = running()
    sent = Sent(lambda: (rollout,))

    def broken(_: Rollout) -> Sequence[Captured]:
        raise UsageError("not there.")

    sent.generating.requests = broken
    assert sent.run(2) == 0
    sent.generating.requests = lambda _: REQUESTS
    assert sent.run(10) > 60


def test_only_a_running_rollout_that_asks_and_no_freeze_holds_wants_it() -> None:
    stand, rollout = running()
    waiting = Stand(EVEN, EVEN, **ASKED)
    waiting.ready()
    window = {"from": "2026-11-29T00:00", "until": "2026-11-30T00:00"}
    freeze = Freeze.model_validate({"kind": "freeze", "name": "x", "models": ["*"], "zone": "UTC", "windows": [window]})
    asked = lambda rollouts, freezes=(), now=NOW: [each.id for each in generating(rollouts, freezes, now)]  # noqa: E731
    assert asked(stand.ledger.current()) == [rollout.id]
    assert asked(stand.ledger.current(), (freeze,)) == []
    assert asked(stand.ledger.current(), (freeze,), NOW + timedelta(days=2)) == [rollout.id]
    assert asked(waiting.ledger.current()) == []
    assert asked(running(generate=None)[0].ledger.current()) == []


def test_no_unit_and_nothing_that_the_gateway_says_is_sent() -> None:
    captured = Captured(
        rid="r", body=b"{}",
        headers={"x-user-id": "ada", "x-state": "CA", "host": "a", "content-length": "9", "x-sluice-unit": "eve"},
    )  # fmt: skip
    assert headers_of(captured, "x-user-id") == {
        "x-state": "CA", "content-type": "application/json", "connection": "close"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"serve": {}}, "no request is captured in full, so there would be none to send"),
        ({"generate": {"rate": "0/s"}}, "not a rate: '0/s'"),
        ({"generate": {"rate": "1001/s"}}, "not a rate: '1001/s'"),
        ({"generate": {"rate": 20}}, "not a rate: 20"),
        ({"generate": {"rate": "1/s", "requests": "some.jsonl"}}, "requests"),
        ({"metrics": {"wrong": {"source": "outcome", "outcome": "w", "score": "zero_one"}},
          "gates": [{"metric": "wrong", "margin": "5%"}]}, ("generated requests count only for errors, latency "
              "and contract")),
        ({"strategy": "shadow", "steps": (), "shadow": {"sample": 10, "max_time": "1h"}, "gates": []},
         "while a candidate answers a share"),
    ],
)  # fmt: skip
def test_a_plan_that_would_send_for_nothing_says_why(plan: dict[str, Any], said: str) -> None:
    whole = {"model": "m", "serve": {"capture": {"features": "full"}}, "steps": [{"weight": 10}]} | ASKED | plan
    with pytest.raises(ValidationError, match=said):
        Plan.model_validate(whole)


def test_a_rate_reads_back() -> None:
    plan = running(generate={"rate": "0.5/s"})[1].plan
    assert plan.generate is not None
    assert plan.generate.rate == 0.5
    assert plan.model_dump(mode="json")["generate"]["rate"] == "0.5/s"


def test_the_how_to_shows_what_is_said_of_them() -> None:
    section = PAGE.read_text("utf-8").split("## Generate requests for a quiet service")[1]
    plan = read_plan(section.split("```yaml\n")[1].split("```")[0], "page")
    stand = Stand(EVEN, EVEN, versions=("6", "7"), model="delays")
    stand.plan = plan
    name = stand.ready().id
    rollout = stand.facts(
        name, StepEntered(step=0, weight=1000, actor="driver", reason="the candidate is ready"),
        Observed(epoch=1, version="v"),
    )  # fmt: skip
    record = read_for_views(stand.ledger, [rollout])[0]
    shown = tree(to_jsonable_python(rollout_view(record, NOW, (61, 7), generated=12_384)))
    assert next(each for each in shown.splitlines() if "generated" in each) in section
    none = rollout_view(record, NOW, (61, 7), generated=0)
    assert none.generated == "captured requests at 20/s, none so far; to find out why: sluice doctor"


def test_the_doctor_says_why_a_rollout_generates_nothing(tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    said = {}
    for name, requests in (("captured", "captured"), ("file", str(file))):
        stand, rollout = running(generate={"rate": "20/s", "requests": requests})
        store = Store(f"sqlite:///{tmp_path / name}.db", durable=False)
        runtime: Any = SimpleNamespace(ledger=stand.ledger, clock=lambda: NOW, store=store)
        (finding,) = findings(runtime)
        said[name] = finding.found.removeprefix(f"{rollout.id} generates no request: ")
        if requests != "captured":
            file.write_text("{}\n")
            assert findings(runtime) == ()
        stand.facts(rollout.id, Paused(actor="ada", reason="x"))
        assert findings(runtime) == ()
    assert said == {"captured": "none to m/default was captured in full", "file": f"{file} is not there"}


def test_the_page_of_a_rollout_says_how_many_were_generated() -> None:
    stand, rollout = running()
    desk = GeneratedDesk(ledger=stand.ledger)
    office = Office(desk)
    office.client.post("/login", data={"token": TOKEN})
    for sent, words in ((1234, "1,234 so far"), (0, "none so far; to find out why: sluice doctor")):
        desk.sent = sent
        page = office.client.get(f"/rollouts/{rollout.id}")
        assert f"captured requests at 20/s, {words}" in page.text


@dataclass(kw_only=True)
class GeneratedDesk(MemoryDesk):
    """A desk that knows how many requests were generated."""

    sent: int = 0

    def evidence(self, rollout: Rollout) -> Evidence:
        return Evidence(generated=self.sent)
