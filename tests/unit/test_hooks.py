"""Hooks: others are told at least once, by one key, until they take it; nothing that happens waits for them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic_core import to_jsonable_python
from standardwebhooks import Webhook

from sluicegate.flows.cli.tree import tree
from sluicegate.flows.stages.hooks import MOST, HookCaller, HookPass
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.reading import read_for_views
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.report.happening import Severity, severity
from sluicegate.registry.report.timeline import timeline
from sluicegate.registry.report.view import rollout_view
from sluicegate.registry.rollout.facts import Baked, Checked, Fact, HookCalled, Observed, Packed, Ready, StepEntered
from sluicegate.registry.rollout.hooks import BACKOFF, DueHook, due_hooks
from sluicegate.registry.rollout.rollout import Ending, Phase
from sluicegate.registry.words.errors import IllegalMove, InvalidDocument, Unreachable
from sluicegate.services.outbox.signed import signing_key
from tests import giving as orders
from tests.acceptance.given import PLAN, Given
from tests.doubles.ledger import MemoryLedger
from tests.giving import Giver
from tests.plans import read_plan

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
WHO = Giver(actor="ada", cause="cli")
SECRET = "a secret of ours"
PAGE = Path(__file__).parents[2] / "docs/how-to/react-and-remember.md"


@dataclass
class Door:
    """A real server of somebody who is told: it verifies what comes, and can hang."""

    answers: list[int] = field(default_factory=list)
    heard: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    reached: threading.Event = field(default_factory=threading.Event)
    open: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def hear(self, headers: dict[str, str], body: bytes) -> int:
        Webhook(signing_key(SECRET)).verify(body, headers)
        self.heard.append((headers["webhook-id"], json.loads(body)["data"]))
        self.reached.set()
        self.open.wait(30)
        return self.answers.pop(0) if self.answers else 204


@pytest.fixture
def door() -> Iterator[Door]:
    mine = Door()
    mine.open.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            self.send_response(mine.hear({name.lower(): value for name, value in self.headers.items()}, body))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    mine.url = f"http://127.0.0.1:{server.server_port}/told"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield mine
    mine.open.set()
    server.shutdown()
    server.server_close()
    thread.join(timeout=10)


class Stand:
    """A target with a stable build and a rollout at its first step, by a plan with hooks."""

    def __init__(self, *hooks: dict[str, object], ledger: Ledger | None = None) -> None:
        self.ledger, self.now = ledger or MemoryLedger(), NOW
        bare = Plan.model_validate({"model": "delays", "steps": [{"weight": 10}]})
        self.plan = Plan.model_validate({"model": "delays", "steps": [{"weight": 10}], "bake": "1h", "hooks": hooks})
        first = orders.deploy(self.ledger, plan=bare, version="1", request=WHO, now=NOW).rollout
        self.launch(first.id)
        orders.complete(self.ledger, first.id, NOW)
        self.name = orders.start(self.ledger, plan=self.plan, version="2", request=WHO, now=NOW).rollout.id
        self.launch(self.name)
        self.facts(self.name, StepEntered(step=0, weight=1000, actor="d", reason="ready"))

    def launch(self, name: str) -> None:
        self.facts(name, Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version="x"))

    def facts(self, name: str, *facts: Fact) -> None:
        for fact in facts:
            orders.append(self.ledger, name, lambda _, fact=fact: fact, self.now)

    def abort(self) -> None:
        orders.abort(self.ledger, self.name, actor="ada", reason="too slow", now=self.now)

    def promote(self) -> None:
        orders.promote(self.ledger, self.name, actor="ada", reason="good", now=self.now)

    def calls(self, name: str | None = None) -> list[tuple[str, int, str]]:
        facts = [entry.fact for entry in self.ledger.entries(name or self.name)]
        return [(each.after, each.attempt, each.answer) for each in facts if isinstance(each, HookCalled)]

    def due(self) -> list[tuple[str, str, int]]:
        return [(each.rollout.id, str(each.hook), each.attempt) for each in due_hooks(self.ledger.rollouts(), self.now)]


def caller(**more: object) -> HookCaller:
    return HookCaller(
        prefect=lambda: pytest.fail("Prefect was asked"), key=lambda: SECRET, allowed=frozenset({"127.0.0.1"}),
        clock=lambda: datetime.now(UTC), **more,
    )  # fmt: skip


def hook(door: Door, after: str = "abort", **more: object) -> dict[str, object]:
    return {"after": after, "url": door.url, **more}


def looking(stand: Stand, tell: Callable[[DueHook], str] | None = None, **more: object) -> HookPass:
    return HookPass(ledger=stand.ledger, notify=tell or caller().notify, clock=lambda: stand.now, **more)


# --- what is told, and when ------------------------------------------------------------------------------------------


def test_a_hook_is_told_once_of_what_it_waits_for_and_of_nothing_else(door: Door) -> None:
    stand = Stand(hook(door), hook(door, "promotion"), hook(door, "rollback"))
    look = looking(stand)
    look.look(NOW)
    assert not door.heard
    stand.promote()
    for _ in range(3):
        look.look(NOW)
    assert stand.calls() == [("promotion", 1, "taken")]
    stand.abort()
    for _ in range(3):
        look.look(NOW)
    assert stand.calls() == [("promotion", 1, "taken"), ("abort", 1, "taken")]
    (_, promoted), (_, aborted) = door.heard
    assert promoted["after"] == "promotion"
    said = {
        "after": "abort", "rollout": stand.name, "model": "delays", "candidate": "2", "stable": "1", "weight": 0.0,
        "actor": "ada", "reason": "too slow",
    }  # fmt: skip
    assert said.items() <= aborted.items()


def test_a_rollback_tells_the_hooks_of_the_rollout_that_is_taken_back(door: Door) -> None:
    stand = Stand(hook(door, "rollback"))
    stand.promote()
    stand.facts(stand.name, Baked(reason="over"))
    looking(stand).look(NOW)
    assert not door.heard
    stand.now += timedelta(hours=1)
    back = orders.roll_back(
        stand.ledger, model="delays", variation="default", version=None, reason="bad", request=WHO, now=stand.now
    ).rollout
    stand.facts(back.id, Ready(version="1"))
    orders.complete(stand.ledger, back.id, stand.now)
    looking(stand).look(stand.now)
    assert stand.calls(back.id) == [("rollback", 1, "taken")]
    ((_, told),) = door.heard
    assert (told["rollout"], told["candidate"], told["stable"]) == (back.id, "1", "2")


def test_the_first_build_of_a_variation_is_a_promotion(door: Door) -> None:
    ledger = MemoryLedger()
    plan = Plan.model_validate({"model": "first", "steps": [{"weight": 10}], "hooks": [hook(door, "promotion")]})
    name = orders.deploy(ledger, plan=plan, version="1", request=WHO, now=NOW).rollout.id
    for fact in (Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version="x")):
        orders.append(ledger, name, lambda _, fact=fact: fact, NOW)
    orders.complete(ledger, name, NOW)
    (due,) = due_hooks(ledger.rollouts(), NOW)
    assert (due.rollout.id, due.hook.after) == (name, "promotion")


@pytest.mark.parametrize("phase", ["queued", "launching", "running", "paused", "baking"])
def test_an_abort_in_any_phase_is_told(phase: str) -> None:
    stand = Stand({"after": "abort", "deployment": "ops/page"})
    name = stand.name
    if phase in ("queued", "launching"):
        name = orders.start(stand.ledger, plan=stand.plan, version="3", request=WHO, now=NOW).rollout.id
    if phase == "launching":
        stand.promote()
        stand.facts(stand.name, Baked(reason="over"))
        orders.begin(stand.ledger, stand.ledger.rollout(name), NOW)
    if phase == "paused":
        orders.pause(stand.ledger, name, actor="ada", reason="wait", now=NOW)
    if phase == "baking":
        stand.promote()
    assert stand.ledger.rollout(name).phase == phase
    orders.abort(stand.ledger, name, actor="ada", reason="no", now=NOW)
    assert stand.due() == [(name, "ops/page", 1)]


# --- who does not take it --------------------------------------------------------------------------------------------


def test_who_does_not_take_it_is_told_again_later_and_later_by_the_same_key(door: Door) -> None:
    door.answers = [500, 302, 404]
    stand = Stand(hook(door, attempts=9))
    stand.abort()
    look = looking(stand)
    for attempt in range(3):
        look.look(stand.now)
        assert stand.calls()[-1] == ("abort", attempt + 1, "failed")
        stand.now += timedelta(seconds=BACKOFF[attempt] - 0.5)
        look.look(stand.now)
        assert len(door.heard) == attempt + 1, "not before its time"
        stand.now += timedelta(seconds=0.5)
    look.look(stand.now)
    assert stand.calls()[-1] == ("abort", 4, "taken")
    assert len({key for key, _ in door.heard}) == 1


def test_in_the_end_it_is_given_up_which_is_on_record_and_told_to_people(door: Door) -> None:
    door.answers = [500] * 9
    stand = Stand(hook(door, attempts=2))
    stand.abort()
    look = looking(stand)
    for _ in range(5):
        look.look(stand.now)
        stand.now += timedelta(hours=2)
    assert stand.calls() == [("abort", 1, "failed"), ("abort", 2, "given_up")]
    assert len(door.heard) == 2, "who was given up is left alone"
    last = stand.ledger.entries(stand.name)[-1].fact
    assert severity(last) is Severity.WARNING
    assert stand.ledger.rollout(stand.name).ending is Ending.ABORTED


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:9/x", "does not answer"),
        ("http://10.0.0.1/x", "SLUICE_CHECK_HOSTS=10.0.0.1"),
        ("https://no-such-host.invalid/", "cannot be resolved"),
    ],
)
def test_why_it_did_not_take_it_is_on_record(url: str, says: str) -> None:
    stand = Stand({"after": "abort", "url": url})
    stand.abort()
    looking(stand).look(NOW)
    called = stand.ledger.entries(stand.name)[-1].fact
    assert isinstance(called, HookCalled)
    assert (called.answer, says in called.reason) == ("failed", True)


# --- nothing waits ---------------------------------------------------------------------------------------------------


def in_threads(threads: list[threading.Thread]) -> Callable[[Callable[[], None]], object]:
    def hand(call: Callable[[], None]) -> None:
        threads.append(threading.Thread(target=call, daemon=True))
        threads[-1].start()

    return hand


def test_one_that_hangs_keeps_no_look_no_abort_and_no_other_hook_waiting(door: Door) -> None:
    door.open.clear()
    stand, threads = Stand(hook(door, "promotion"), {"after": "abort", "deployment": "ops/page"}), []

    def tell(due: DueHook) -> str:
        return caller().notify(due) if due.hook.url else "run r completed"

    look = looking(stand, tell, hand=in_threads(threads))
    stand.promote()
    look.look(NOW)
    assert door.reached.wait(10)
    stand.abort()
    assert stand.ledger.rollout(stand.name).weight == 0
    for _ in range(3):
        look.look(NOW)
    threads[1].join(10)
    assert stand.calls() == [("abort", 1, "taken")]
    assert len(threads) == 2, "what is under way is not begun again"
    door.open.set()
    threads[0].join(10)
    assert stand.calls() == [("abort", 1, "taken"), ("promotion", 1, "taken")]
    assert len(door.heard) == 1


def test_only_so_many_are_told_at_the_same_time_and_the_others_after_them() -> None:
    stand = Stand(*({"after": "abort", "deployment": f"ops/page-{i}"} for i in range(9)))
    for version in ("3", "4"):
        name = orders.start(stand.ledger, plan=stand.plan, version=version, request=WHO, now=NOW).rollout.id
        orders.abort(stand.ledger, name, actor="ada", reason="no", now=NOW)
    stand.abort()
    begun: list[Callable[[], None]] = []
    look = looking(stand, lambda _: "ok", hand=begun.append)
    look.look(NOW)
    look.look(NOW)
    assert len(begun) == MOST
    for call in begun:
        call()
    look.look(NOW)
    assert len(begun) == 27


def test_where_no_thread_is_to_be_had_it_is_told_at_the_next_look() -> None:
    stand, spare = Stand({"after": "abort", "deployment": "ops/page"}), [False, True]
    stand.abort()

    def hand(call: Callable[[], None]) -> None:
        if not spare.pop(0):
            raise RuntimeError("can't start new thread")
        call()

    look = looking(stand, lambda _: "ok", hand=hand)
    look.look(NOW)
    look.look(NOW)
    assert stand.calls() == [("abort", 1, "taken")]


# --- at least once, on record once -----------------------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone."""


def test_a_keeper_killed_between_call_and_record_tells_it_again_by_the_same_key(door: Door) -> None:
    stand = Stand(hook(door))
    stand.abort()

    def tell_and_die(due: DueHook) -> str:
        caller().notify(due)
        raise Killed

    with pytest.raises(Killed):
        looking(stand, tell_and_die).look(NOW)
    assert stand.calls() == []
    looking(stand).look(NOW)
    assert stand.calls() == [("abort", 1, "taken")]
    assert [key for key, _ in door.heard] == [door.heard[0][0]] * 2


def test_two_keepers_record_an_attempt_once(door: Door) -> None:
    stand = Stand(hook(door))
    stand.abort()
    other = looking(stand)

    def tell_while_the_other_does(due: DueHook) -> str:
        other.look(NOW)
        return caller().notify(due)

    looking(stand, tell_while_the_other_does).look(NOW)
    assert stand.calls() == [("abort", 1, "taken")]
    assert len(door.heard) == 2


class FullDisk(MemoryLedger):
    """Takes nothing while the disk is full."""

    is_full = False

    def commit(self, decide, key=None):  # type: ignore[no-untyped-def]
        if self.is_full:
            raise Unreachable("the disk is full.")
        return super().commit(decide, key)


def test_while_the_ledger_takes_nothing_it_is_not_told_again_and_again(door: Door) -> None:
    ledger = FullDisk()
    stand = Stand(hook(door), ledger=ledger)
    stand.abort()
    ledger.is_full = True
    look = looking(stand)
    for _ in range(4):
        look.look(NOW)
    ledger.is_full = False
    look.look(NOW)
    assert (len(door.heard), stand.calls()) == (1, [("abort", 1, "taken")])


def test_the_record_takes_attempts_in_their_order_and_none_after_the_last() -> None:
    stand = Stand({"after": "abort", "deployment": "ops/page"})
    stand.abort()
    call = HookCalled(after="abort", position=0, attempt=1, answer="taken", actor="ops/page", reason="r")
    with pytest.raises(IllegalMove, match="is not the next one"):
        stand.facts(stand.name, HookCalled(**vars(call) | {"attempt": 2}))
    stand.facts(stand.name, call)
    with pytest.raises(IllegalMove, match="is not the next one"):
        stand.facts(stand.name, HookCalled(**vars(call) | {"attempt": 2}))


# --- before promotion, in documents, and as it is shown --------------------------------------------------------------


@pytest.mark.parametrize(("answer", "phase"), [("no", Phase.PAUSED), ("none", Phase.PAUSED), ("yes", Phase.BAKING)])
def test_before_promotion_the_check_of_the_last_step_may_refuse(answer: str, phase: Phase) -> None:
    step = {"weight": 10, "check": {"deployment": "release/may-it"}}
    given = Given(PLAN | {"gates": [], "metrics": {}, "guardrails": [], "steps": [step]})
    given.ticks()
    given.serves()
    orders.approve(given.ledger, given.name, actor="ada", reason="good", now=given.now)
    assert given.ticks().decision.asks
    orders.append(
        given.ledger, given.name, lambda r: Checked(step=r.step, answer=answer, actor="release/may-it", reason="so"),
        given.now,
    )  # fmt: skip
    given.ticks()
    assert given.rollout.phase is phase


@pytest.mark.parametrize(
    ("hooks", "says"),
    [
        ("[{after: promotion}]", "name exactly one of deployment and url"),
        ("[{url: 'https://a.example'}]", "after is missing"),
        ("[{after: promoted, url: 'https://a.example'}]", "'promoted' is not allowed here (did you mean promotion?)"),
        ("[{after: abort, url: 'ftp://a.example'}]", "url"),
        ("[{after: abort, url: 'https://a.example', then: abort}]", "unknown key then"),
        ("[{after: abort, url: 'https://a.example', attempts: 0}]", "attempts"),
        ("[{after: abort, deployment: a/b}, {after: abort, deployment: a/b}]", "is named twice for after: abort"),
    ],
)  # fmt: skip
def test_a_hook_that_is_written_wrongly_is_refused_with_the_fix(hooks: str, says: str) -> None:
    with pytest.raises(InvalidDocument) as raised:
        read_plan(f"kind: plan\nmodel: m\nsteps: [{{weight: 10}}]\nhooks: {hooks}\n", "plan.yaml")
    assert says in "\n".join(str(each) for each in raised.value.problems)


def test_a_plan_that_ends_in_the_shadow_promotes_nothing() -> None:
    shadow = "strategy: shadow\nshadow: {sample: 20, max_time: 1h}\n"
    text = f"kind: plan\nmodel: m\n{shadow}hooks: [{{after: promotion, deployment: a/b}}]\n"
    with pytest.raises(InvalidDocument) as raised:
        read_plan(text, "plan.yaml")
    assert "no promotion ever follows" in str(raised.value.problems[0])


def test_the_how_to_shows_what_a_rollout_says_of_its_hooks() -> None:
    section = PAGE.read_text("utf-8").split("## Run something of yours after a promotion or an abort")[1]
    plan = read_plan(section.split("```yaml\n")[1].split("```")[0], "page")
    stand = Stand(*(each.model_dump(mode="json", exclude_none=True) for each in plan.hooks))

    def tell(due: DueHook) -> str:
        if due.hook.url:
            raise Unreachable("it answered 503.")
        return "the feature flags are switched back"

    stand.abort()
    stand.facts(stand.name, Observed(epoch=2, version="v"))
    looking(stand, tell).look(stand.now)
    shown = tree(
        to_jsonable_python(rollout_view(read_for_views(stand.ledger, [stand.ledger.rollout(stand.name)])[0], NOW))
    )
    assert shown == section.split("```text\n")[1].split("\n```")[0]
    said = [each.text for each in timeline(stand.ledger.entries(stand.name))]
    assert "hook after abort: https://ci.example.com/rollouts could not be notified (attempt 1)" in said
