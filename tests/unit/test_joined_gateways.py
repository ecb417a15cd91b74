"""A gateway of another host: its sheet, what the keeper makes of its silence, its log: services/traffic/joined.py."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from sluicegate.flows.wiring import collector_process, removing
from sluicegate.flows.wiring.desk import LocalDesk
from sluicegate.flows.wiring.runtime import Runtime
from sluicegate.registry.audience.audience import AllOf, AnyOf, Match, Not, Operator, Present, Range
from sluicegate.registry.words.build import BuildRef, Endpoint
from sluicegate.registry.words.errors import (
    Fenced,
    NotFound,
    Refused,
    RoutesRejected,
    TimedOut,
    Unreachable,
    UsageError,
)
from sluicegate.registry.words.fencing import FencingToken
from sluicegate.registry.words.gateway_report import GatewayReport, Served, sheet_name
from sluicegate.registry.words.roles import Role
from sluicegate.registry.words.settings import Settings
from sluicegate.services.console.acts.table import find
from sluicegate.services.console.operations import Request
from sluicegate.services.console.tokens import Tokens
from sluicegate.services.heartbeat import Heartbeats
from sluicegate.services.host.installation import make_site
from sluicegate.services.host.keys import make_keys
from sluicegate.services.telemetry.reading.accounts import Accountant, gaps
from sluicegate.services.telemetry.reading.watch import Counters
from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.tailing.levels import Levels
from sluicegate.services.telemetry.tailing.mirror import may_go, take
from sluicegate.services.telemetry.tailing.shipping import Shipper
from sluicegate.services.traffic.joined import ON_THE_WAY, QUIET, Joined, Mailbox, mailboxes
from sluicegate.services.traffic.routes import routes
from sluicegate.services.traffic.sheet import read_sheet, write_sheet
from sluicegate.services.traffic.table import RouteTable
from tests.doubles.ledger import MemoryLedger
from tests.integration.traffic_rig import eventually, standing

BUILDS = [BuildRef(model="delays", version=version) for version in "12"]
ENDPOINTS = {build: (Endpoint(build=build, socket=f"/s/{build.version}"),) for build in BUILDS}
UNWATCHED = 15.0


def table(weight: int = 2000, position: int = 7) -> RouteTable:
    made = routes([standing(weight=weight)], set(BUILDS), {})
    return replace(made, made_from=FencingToken(term=2, position=position))


def test_a_table_arrives_as_it_was_sent_whatever_its_audiences() -> None:
    sent = table()
    one = Match(header="a", operator=Operator.PREFIX, operands=("x", "y"))
    either = AnyOf(conditions=(one, Present(header="b")))
    condition = AllOf(conditions=(either, Not(condition=Range(header="c", low=1.0))))
    route = sent.models[0]
    told = replace(route.audiences[0], condition=condition)
    sent = replace(sent, models=(replace(route, audiences=(told, *route.audiences[1:])),))
    got, builds = read_sheet(write_sheet(sent, BUILDS))
    assert (got, got.made_from, got.unwatched, got.version) == (sent, sent.made_from, sent.unwatched, sent.version)
    assert builds == tuple(BUILDS)
    assert write_sheet(got, builds) == write_sheet(sent, BUILDS)


def test_what_is_not_the_table_that_was_sent_is_refused() -> None:
    text = write_sheet(table(), BUILDS)
    for wrong in (text[:-20], text.replace('"2"', '"3"'), text.replace('"models"', '"model"'), "[]", "{}"):
        with pytest.raises(UsageError):
            read_sheet(wrong)


class Clock:
    """The clock of intervals. Waiting moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Far:
    """A gateway of another host, as far as it says something."""

    def __init__(self, folder: Path, elapsed: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.box, self.elapsed = Mailbox(folder=folder / "edge-a"), elapsed
        self.silent_since: float | None = None
        monkeypatch.setattr(
            Mailbox, "silence", lambda _: None if self.silent_since is None else elapsed.now - self.silent_since
        )
        monkeypatch.setattr("sluicegate.services.traffic.joined.time.sleep", self._sleep)
        self.answers = True
        self.plane = Joined(self.box, unwatched=UNWATCHED, elapsed=elapsed)

    def say(self, **said: object) -> None:
        self.box.hear(said, None)
        self.silent_since = self.elapsed.now

    def _sleep(self, seconds: float) -> None:
        self.elapsed.now += seconds
        if self.answers and (text := self.box.sheet()) is not None:
            got, _ = read_sheet(text)
            self.say(has=sheet_name(text), serves=got.version, in_flight={str(BUILDS[1]): 3})


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Far:
    return Far(tmp_path, Clock(), monkeypatch)


def test_it_serves_what_it_says_that_it_serves(far: Far) -> None:
    wanted = table()
    far.say()
    far.plane.apply(wanted, ENDPOINTS)
    assert far.plane.observe() == wanted.version
    assert [far.plane.in_flight(each) for each in BUILDS] == [0, 3]
    assert not far.plane.is_away()


def test_one_that_is_silent_holds_up_until_its_own_switch_has_acted(far: Far) -> None:
    far.say()
    far.plane.apply(table(), ENDPOINTS)
    far.answers = False
    with pytest.raises(TimedOut, match="edge-a does not confirm"):
        far.plane.apply(table(0), ENDPOINTS)
    far.elapsed.now = (far.silent_since or 0) + QUIET + 0.1
    assert far.plane.observe() is None
    assert far.plane.in_flight(BUILDS[1]) is None
    far.elapsed.now = (far.silent_since or 0) + UNWATCHED + ON_THE_WAY
    assert not far.plane.is_away(), "it may have heard of a keeper with an answer that was late"
    far.elapsed.now += 10
    assert far.plane.is_away()
    with pytest.raises(Unreachable, match="cut off"):
        far.plane.apply(table(0), ENDPOINTS)
    far.answers = True
    far.say()
    far.plane.apply(table(0), ENDPOINTS)


def test_what_it_has_under_way_counts_only_once_it_took_the_routes_of_now(far: Far) -> None:
    far.say()
    far.plane.apply(table(), ENDPOINTS)
    far.answers = False
    with pytest.raises(TimedOut):
        far.plane.apply(table(0), ENDPOINTS)
    far.say(has="another", serves=table().version, in_flight={})
    assert far.plane.in_flight(BUILDS[1]) is None


def test_a_refusal_is_passed_on(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    far.say()
    text = write_sheet(table(), ENDPOINTS)
    far.answers = False
    far.say(has=sheet_name(text), refused=True, why="no such thing")
    with pytest.raises(RoutesRejected, match="no such thing"):
        far.plane.apply(table(), ENDPOINTS)


def test_a_keeper_that_was_replaced_leaves_no_routes_until_somebody_says_that_the_ledger_was_restored(far: Far) -> None:
    far.say()
    newer = table(position=10)
    far.plane.apply(newer, ENDPOINTS)
    left = far.box.sheet()
    for older in (FencingToken(term=2, position=9), FencingToken(term=1, position=99)):
        with pytest.raises(Fenced, match="is older than the one"):
            far.plane.apply(replace(table(0), made_from=older), ENDPOINTS)
        assert far.box.sheet() == left
    restored = replace(table(0), made_from=FencingToken(term=1, position=3, restored=1))
    far.plane.apply(restored, ENDPOINTS)
    assert far.plane.observe() == restored.version


def test_who_ended_in_order_is_no_gateway_until_it_is_back(tmp_path: Path) -> None:
    box = Mailbox(folder=tmp_path / "edge-a")
    box.hear({}, 12.5)
    assert [(each.name, each.is_retired, each.level()) for each in mailboxes(tmp_path)] == [
        ("edge-a", False, 12_500_000)
    ]
    box.retire()
    assert mailboxes(tmp_path)[0].is_retired
    box.hear({}, None)
    assert not mailboxes(tmp_path)[0].is_retired


def test_one_on_stable_alone_is_shown_while_it_is_heard_and_what_makes_no_sense_is_not(tmp_path: Path) -> None:
    box, told = Mailbox(folder=tmp_path / "edge-1"), {"since": "2026-11-30T10:00:00+00:00", "why": "nobody watches"}
    for said, is_shown in (
        (told, True), (None, False), ({**told, "since": "soon"}, False), ({**told, "since": "2026-11-30"}, False),
        ({"since": 5, "why": "x"}, False), ("x", False),
    ):  # fmt: skip
        box.hear({"stable_only": said}, None)
        assert (box.unwatched() is not None) is is_shown, said
    box.hear({"stable_only": told}, None)
    shown = box.unwatched()
    assert shown is not None
    assert str(shown).startswith(
        "edge-1 sends requests to stable builds only, and copies to no shadow, since 2026-11-30"
    )
    box.retire()
    assert box.unwatched() is None


def test_the_collector_starts_again_for_a_gateway_that_is_new_and_for_none_that_ends_or_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector_process, "LISTEN_SECONDS", 0.01)
    runtime = Runtime(Settings.read({"SLUICE_STATE": str(tmp_path)}), lambda: datetime.now(UTC))
    box, stop = Mailbox(folder=tmp_path / "gateways" / "edge-1"), threading.Event()
    box.hear({}, 5.0)
    watching = threading.Thread(target=collector_process.until_joined, args=(runtime, stop), daemon=True)
    watching.start()
    for _ in range(20):
        box.retire()
        watching.join(0.02)
        box.hear({}, 5.0)
        watching.join(0.02)
    assert watching.is_alive()
    Mailbox(folder=tmp_path / "gateways" / "edge-2").hear({}, 5.0)
    watching.join(30)
    assert not watching.is_alive()


def test_nothing_waits_for_the_log_of_a_gateway_that_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector_process, "LISTEN_SECONDS", 0.01)
    box, levels, stop, clock = Mailbox(folder=tmp_path / "edge-1"), Levels(["l"], ["l"]), threading.Event(), count(10)
    box.hear({}, 5.0)
    words = (box, levels, "l", lambda: datetime.fromtimestamp(next(clock), UTC), stop)
    hearing = threading.Thread(target=collector_process._hear, args=words, daemon=True)
    hearing.start()

    def is_over_5() -> bool:
        levels.read("l", next(clock) * 1_000_000)
        return levels.lowest() > 5_000_000

    try:
        eventually(lambda: is_over_5() or levels.lowest() == 5_000_000)
        assert not any(is_over_5() or stop.wait(0.01) for _ in range(30)), "it may have logged more by then"
        box.retire()
        eventually(is_over_5)
    finally:
        stop.set()
        hearing.join(30)


def test_gateways_hear_of_another_token_of_callers_while_the_console_runs(tmp_path: Path) -> None:
    runtime = Runtime(Settings.read({"SLUICE_STATE": str(tmp_path)}), lambda: datetime.now(UTC))
    runtime.folder.prepare()
    make_site(runtime.folder, dict.fromkeys(("mlflow", "prefect", "gateway", "console"), 1), {})
    make_keys(runtime.folder.secrets, os.urandom)
    desk = LocalDesk(runtime=runtime, ledger=MemoryLedger())
    before = desk.gateways.answer("edge-1", None)["callers"]
    assert before == runtime.keys.gateway_token
    (runtime.folder.secrets / "gateway_token").unlink()
    assert desk.gateways.answer("edge-1", None)["callers"] == before, "none is drawn yet"
    make_keys(runtime.folder.secrets, os.urandom)
    after = desk.gateways.answer("edge-1", None)["callers"]
    assert len({before, after, ""}) == 3


def lost(tmp_path: Path, *, ago: float) -> tuple[LocalDesk, Mailbox]:
    """A desk, and a gateway heard so many seconds ago, which had served 150 requests by then that it did not send."""
    runtime = Runtime(Settings.read({"SLUICE_STATE": str(tmp_path)}), lambda: datetime.now(UTC))
    desk, box = LocalDesk(runtime=runtime, ledger=runtime.ledger), Mailbox(folder=tmp_path / "gateways" / "edge-1")
    log = str(box.logs / "live.jsonl")
    Accountant(runtime.store, "edge-1", log).look(Counters(ended=100, lines=0), runtime.wall())
    ended = {"live": 250, "shadow": 0, "generated": 0}
    box.hear({"served": {"ended": ended, "written": {"live": {"a": 9}}, "buffered": 0, "failed_writes": 0}}, 5.0)
    Heartbeats(folder=box.folder / "beats").beat("report", ago)
    return desk, box


def test_a_gateway_that_is_lost_is_removed_with_its_token_and_what_it_did_not_send_is_told(tmp_path: Path) -> None:
    desk, box = lost(tmp_path, ago=60)
    tokens = Tokens(desk.ledger, desk.admin_token, desk.clock)
    token = tokens.give("edge-1", Role.GATEWAY, actor="ada")
    operation, names = find(desk, "DELETE", "/api/v1/gateways/edge-1")
    request = Request(actor="ada", role=Role.ADMIN, path=names)
    assert operation.run(request) == (200, {"removed": "edge-1", "missing": 150})
    assert desk.runtime.joined() == (), "the keeper waits for it no longer"
    assert box.is_retired
    assert tokens.caller(token) is None
    assert "150 requests of edge-1 were served and never counted" in str(gaps(desk.runtime.store)[0])
    assert operation.run(request) == (200, {"removed": "edge-1", "missing": 150}), "once more changes nothing"


def test_lines_of_requests_after_its_last_report_make_up_for_none_that_are_missing(tmp_path: Path) -> None:
    desk, box = lost(tmp_path, ago=60)
    store, log = desk.runtime.store, str(box.logs / "live.jsonl")
    with store.write() as connection:  # 9 bytes by the report, and 90 lines of one byte each after it
        store.insert(connection, schema.logs, [(log, 99, 0, 99)])
        store.insert(connection, schema.offsets, [(log, "a", 99, 0)])
    assert desk.remove_gateway("edge-1") == 150 - 9


def test_a_gateway_that_runs_is_not_removed_nor_one_that_nobody_knows_nor_by_a_dry_run(tmp_path: Path) -> None:
    desk, box = lost(tmp_path, ago=0)
    with pytest.raises(Refused, match="edge-1 runs") as refused:
        desk.remove_gateway("edge-1")
    assert "stop it on its host" in str(refused.value.fix)
    with pytest.raises(NotFound, match="edge-9"):
        desk.remove_gateway("edge-9")
    Heartbeats(folder=box.folder / "beats").beat("report", 60)
    with pytest.raises(UsageError, match="no dry run"):
        desk.over(MemoryLedger()).remove_gateway("edge-1")
    assert not box.is_retired


def test_what_came_of_a_lost_gateways_log_is_counted_before_it_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removing, "COUNTED_SECONDS", 0.3)
    desk, box = lost(tmp_path, ago=60)
    box.logs.mkdir()
    (box.logs / "live.jsonl").write_text("{}\n{half")
    with pytest.raises(Refused, match="8 bytes of the log that gateway edge-1 sent have not been counted yet"):
        desk.remove_gateway("edge-1")
    (box.logs / "live.jsonl").write_text("{half")  # whose other half never comes
    assert desk.remove_gateway("edge-1") == 150


def test_what_a_gateway_of_a_cluster_served_and_its_pod_took_with_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = Runtime(Settings.read({"SLUICE_STATE": str(tmp_path)}), lambda: datetime.now(UTC))
    name = "pod-1:logs/live.jsonl"
    Accountant(runtime.store, "gateway-1", name).look(Counters(ended=100, lines=0), runtime.wall())
    logs = {"live": name, "generated": "pod-1:logs/generated.jsonl"}
    served = Served(ended={"live": 250, "generated": 0}, written={}, buffered=0, failed_writes=0, logs=logs)
    lost = Lost([GatewayReport(instance="gateway-1", served=served), GatewayReport(instance="gateway-2")])
    monkeypatch.setitem(vars(runtime), "cluster_gateways", lost)
    with monkeypatch.context() as meanwhile:
        meanwhile.setitem(vars(runtime), "store", Away())
        removing.forget_lost(runtime)
    assert len(lost.there) == 2, "the telemetry was away: it is seen to later"
    removing.forget_lost(runtime)
    assert lost.there == []
    (gap,) = gaps(runtime.store)
    assert (gap.gateway, gap.log, gap.requests) == ("gateway-1", name, 150)


@dataclass
class Lost:
    there: list[GatewayReport]

    def lost(self) -> tuple[GatewayReport, ...]:
        return tuple(self.there)

    def forget(self, said: GatewayReport) -> None:
        self.there.remove(said)


class Away:
    def __getattr__(self, name: str) -> object:
        raise Unreachable("the telemetry is away.", fix="wait.")


def test_a_gateways_token_does_nothing_else_and_no_other_does_what_it_does() -> None:
    assert [role for role in Role if Role.GATEWAY.may(role)] == [Role.GATEWAY]
    assert [role for role in Role if role.may(Role.GATEWAY)] == [Role.GATEWAY]


def _known(content: bytes) -> dict[str, bytes]:
    return {hashlib.blake2b(content.split(b"\n")[0], digest_size=16).hexdigest(): content} if content else {}


def _ship(shipper: Shipper) -> None:
    with contextlib.suppress(Unreachable):
        shipper.ship()
        shipper.let_go()


def _lines(number: int) -> bytes:
    return b"".join(json.dumps({"id": n, "text": "x" * (n % 50)}).encode() + b"\n" for n in range(number))


@pytest.mark.parametrize("seed", range(5))
def test_a_log_arrives_byte_for_byte_whoever_is_killed_and_whichever_answer_is_lost(tmp_path: Path, seed: int) -> None:
    chance, there = random.Random(seed), tmp_path / "there"
    log = tmp_path / "live.jsonl"
    written: dict[str, bytes] = {}

    def send(name: str, head: str, offset: int, data: bytes, *, is_whole: bool) -> int:
        if chance.random() < 0.2:
            raise Unreachable("cut off before it came")
        size = take(there, name, head, offset, data, is_whole=is_whole)
        if chance.random() < 0.2:
            raise Unreachable("cut off before the answer")
        return size

    shipper = Shipper(log, send, wall=lambda: 4e9)
    content, at = _lines(400), 0
    for step in range(120):
        grown = min(at + chance.randrange(200), len(content))
        with log.open("ab") as file:
            file.write(content[at:grown])
        at = grown
        if chance.random() < 0.1:
            shipper = Shipper(log, send, wall=lambda: 4e9)  # it was killed
        if chance.random() < 0.05 and log.stat().st_size and content[:at].endswith(b"\n"):
            written |= _known(log.read_bytes())
            log.rename(tmp_path / f"live.{step:06}.jsonl")
            log.touch()
        _ship(shipper)
    for _ in range(150):
        _ship(shipper)
    last = log.read_bytes()
    last = last[: last.rfind(b"\n") + 1]
    written |= _known(last)
    got = {path.name.removeprefix("live.jsonl.").removesuffix(".open"): path.read_bytes() for path in there.iterdir()}
    assert got == written
    assert [path.name for path in tmp_path.glob("live.0*")] == [], "what was sent as a whole is deleted here"
    assert sum(may_go(path) for path in there.iterdir()) == len(written) - bool(last)


def test_a_gap_is_not_taken_and_a_part_that_overlaps_is_taken_from_there(tmp_path: Path) -> None:
    head = "a" * 32
    assert take(tmp_path, "live", head, 10, b"later", is_whole=False) == 0
    assert take(tmp_path, "live", head, 0, b"12345", is_whole=False) == 5
    assert take(tmp_path, "live", head, 3, b"45678", is_whole=False) == 8
    assert take(tmp_path, "live", head, 0, b"123", is_whole=True) == 8, "not whole: more of it is here"
    assert take(tmp_path, "live", head, 8, b"", is_whole=True) == 8
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(f"live.jsonl.{head}", b"12345678")]
    for log, wrong in (("../live", head), ("live", "../../x"), ("live", "A" * 32)):
        with pytest.raises(UsageError):
            take(tmp_path, log, wrong, 0, b"", is_whole=False)


def test_a_part_that_comes_again_while_it_is_being_written_is_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, real = threading.Barrier(2), os.fstat

    def together(handle: int) -> os.stat_result:
        found = real(handle)
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.3)
        return found

    monkeypatch.setattr("sluicegate.services.telemetry.tailing.mirror.os.fstat", together)
    with ThreadPoolExecutor(2) as pool:
        again = [pool.submit(take, tmp_path, "live", "a" * 32, 0, b"12345", is_whole=False) for _ in range(2)]
    assert [each.result() for each in again] == [5, 5]
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"12345"]


@pytest.mark.parametrize(
    "said",
    [
        {"has": 1, "serves": [], "in_flight": [1]},
        {"in_flight": {"delays@2": "many"}},
        {"in_flight": {"delays@2": -5}},
        {"why": {}, "refused": "no"},
        {"served": {"ended": {"live": "x"}, "written": {}, "buffered": 0, "failed_writes": 0}},
        {"served": {"ended": {"live": 1}, "written": {"live": 7}, "buffered": 0, "failed_writes": 0}},
        {"served": {"ended": {"live": 1}, "written": {"live": {"a": -7}}, "buffered": 0, "failed_writes": 0}},
        {"served": {"ended": 3}},
        {"own_address": "edge-a"},
        {"served": 7},
    ],
)
def test_what_a_gateway_says_in_another_form_counts_as_not_said(tmp_path: Path, said: dict[str, object]) -> None:
    box = Mailbox(folder=tmp_path / "edge-a")
    box.hear(said, None)
    assert box.report() == GatewayReport()


AT = 1_800_000_000.0
"""The console's time, in seconds since 1970."""


def console_at(folder: Path, time_by: list[float]) -> LocalDesk:
    """A console whose clock shows the last of these times."""
    runtime = Runtime(Settings.read({"SLUICE_STATE": str(folder)}), lambda: datetime.fromtimestamp(time_by[-1], UTC))
    return LocalDesk(runtime=runtime, ledger=MemoryLedger())


@pytest.mark.parametrize("until", [-1.0, float("nan"), float("inf"), -float("inf"), "3", None])
def test_a_gateway_that_says_nonsense_of_its_log_has_sent_none(tmp_path: Path, until: object) -> None:
    desk = console_at(tmp_path, [AT])
    assert desk.gateways.hear("edge-a", {"after": AT, "shipped_until": until})
    assert [(each.name, each.level()) for each in desk.runtime.joined()] == [("edge-a", 0)]


def test_no_gateway_says_that_its_log_of_the_future_has_come(tmp_path: Path) -> None:
    desk = console_at(tmp_path, [AT])
    desk.gateways.hear("edge-a", {"after": AT, "shipped_until": AT + 3600})
    assert desk.runtime.joined()[0].level() == AT * 1e6


def test_a_report_that_comes_late_says_nothing_of_now(tmp_path: Path) -> None:
    """The console was stopped, say, and reads after a minute what was sent to it before."""
    clock = [AT]
    desk = console_at(tmp_path, clock)
    assert not desk.gateways.hear("edge-a", {"serves": "0"}), "who was not answered yet reports again at once"
    assert desk.runtime.joined() == ()
    assert desk.gateways.hear("edge-a", {"serves": "1", "after": AT})
    clock.append(AT + 60)
    for late in (AT, AT + 49, AT + 61):
        assert not desk.gateways.hear("edge-a", {"serves": "2", "retired": True, "after": late})
    (box,) = desk.runtime.joined()
    assert (box.report().serves, box.is_retired) == ("1", False)
    assert desk.gateways.hear("edge-a", {"serves": "3", "after": AT + 59})
    assert box.report().serves == "3"


def test_a_report_that_another_one_has_overtaken_changes_nothing_also_if_it_comes_twice(tmp_path: Path) -> None:
    clock = [AT, AT + 5]
    desk = console_at(tmp_path, clock)
    ended, back = {"serves": "1", "after": AT, "retired": True}, {"serves": "2", "after": AT + 4}
    assert desk.gateways.hear("edge-a", ended)
    for _ in range(2):
        assert desk.gateways.hear("edge-a", back)
        assert not desk.gateways.hear("edge-a", ended)
    (box,) = desk.runtime.joined()
    assert box.report().serves == "2"
    clock.append(AT - 3600)
    assert desk.gateways.hear("edge-a", {"serves": "3", "after": AT - 3600}), "somebody set the console's clock back"


def test_a_gateway_cannot_fill_the_disk_on_which_the_record_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluicegate.services.telemetry.tailing.mirror.RESERVE", 1 << 60)
    with pytest.raises(Unreachable, match="free on the disk"):
        take(tmp_path, "live", "a" * 32, 0, b"12345", is_whole=False)
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [0]
    assert take(tmp_path, "live", "a" * 32, 0, b"", is_whole=False) == 0, "it may ask how much is here"


def test_two_gateways_with_one_token_are_not_taken_for_one(tmp_path: Path) -> None:
    desk = console_at(tmp_path, [AT])
    desk.gateways.hear("edge-a", {"instance": "host-a:/s", "serves": "1", "after": AT})
    with pytest.raises(Refused, match="another gateway goes by the token of edge-a: host-a:/s"):
        desk.gateways.hear("edge-a", {"instance": "host-b:/s", "serves": "2", "after": AT})
    assert desk.runtime.joined()[0].report().serves == "1"
    desk.gateways.hear("edge-a", {"instance": "host-a:/s", "serves": "3", "after": AT})
    desk.gateways.hear("edge-a", {"instance": "host-a:/s", "retired": True, "after": AT})
    desk.gateways.hear("edge-a", {"instance": "host-b:/s", "serves": "2", "after": AT})
    assert desk.runtime.joined()[0].report().serves == "2"
