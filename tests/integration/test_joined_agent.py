"""The agent of a gateway of another host, over Envoy's files: what it does when nothing new comes, or nothing."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import httpx
import psutil
import pytest

from sluicegate.flows.wiring.gateway_guard import Guard, end_former, limit_in, mark
from sluicegate.flows.wiring.joined_agent import JoinedAgent
from sluicegate.flows.wiring.joined_console import Console
from sluicegate.flows.wiring.successor import is_changed, note_started
from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.errors import Unreachable
from sluicegate.registry.words.fencing import FencingToken
from sluicegate.registry.words.gateway_report import sheet_name
from sluicegate.services.heartbeat import Heartbeats
from sluicegate.services.traffic.envoy.bootstrap import Outside
from sluicegate.services.traffic.envoy.plane import Envoy
from sluicegate.services.traffic.routes import routes
from sluicegate.services.traffic.sheet import write_sheet
from tests.integration.test_outside import HOST, Files
from tests.integration.traffic_rig import eventually, free_port, standing

BUILDS = [BuildRef(model="delays", version=version) for version in "12"]


class Over:
    """The console of the other host, as far as the agent hears it."""

    def __init__(self) -> None:
        made = routes([standing(weight=2000)], set(BUILDS), {})
        self.table = replace(made, made_from=FencingToken(term=1, position=7))
        self.sheet = write_sheet(self.table, BUILDS)
        self.pair, self.unwatched, self.is_there, self.ago = "first", 15.0, True, 0.0
        self.callers = "x"

    def exchange(self, said: Mapping[str, object]) -> dict[str, Any]:
        if not self.is_there:
            raise Unreachable("cut off")
        name = sheet_name(self.sheet)
        relay = {"name": "10.0.0.5", "address": "10.0.0.5", "port": 7, "pair": self.pair}
        more = {} if said["has"] == name else {"sheet": self.sheet}
        told = {
            "waited": 0.0,
            "heard": True,
            "renewed_ago": self.ago,
            "callers": self.callers,
            "unwatched": self.unwatched,
        }
        return {**told, "name": name, "relay": relay, **more}


@pytest.fixture
def over() -> Over:
    return Over()


@pytest.fixture
def agent(tmp_path: Path, over: Over) -> JoinedAgent:
    envoy = Envoy(tmp_path / "envoy", port=1)
    envoy.prepare()
    relay = {"address": "10.0.0.5", "port": 7}
    return JoinedAgent(folder=tmp_path, console=cast("Console", over), envoy=envoy, relay=relay, unwatched=15.0)


def serves(agent: JoinedAgent) -> str:
    """The version that stands in Envoy's files."""
    return str(json.loads(agent.envoy.places.routes.read_text())["version_info"])


def test_back_from_stable_alone_it_takes_the_routes_that_it_has_although_none_are_new(
    agent: JoinedAgent, over: Over
) -> None:
    agent.turn()
    assert serves(agent) == over.table.version
    assert agent.envoy.go_stable_only()
    assert serves(agent) == over.table.stable_only.version
    agent.turn()
    assert serves(agent) == over.table.version


def test_a_certificate_for_the_relay_that_was_renewed_comes_although_no_routes_are_new(
    agent: JoinedAgent, over: Over
) -> None:
    agent.turn()
    over.pair = "renewed"
    agent.turn()
    assert (agent.folder / "pair" / "pair.pem").read_text() == "renewed"


def test_a_certificate_that_cannot_be_kept_holds_up_no_routes(agent: JoinedAgent, over: Over) -> None:
    (agent.folder / "pair").write_text("in the way of the folder")
    agent.turn()
    assert serves(agent) == over.table.version


def test_it_goes_by_the_limit_of_the_host_whose_keeper_goes_by_it(agent: JoinedAgent, over: Over) -> None:
    over.unwatched = 12.0
    agent.turn()
    assert limit_in(agent.folder) == 12.0


def test_one_that_starts_and_hears_nothing_starts_with_stable_alone(agent: JoinedAgent, over: Over) -> None:
    agent.turn()
    over.is_there = False
    agent.begin()
    assert serves(agent) == over.table.stable_only.version
    over.is_there = True
    agent.begin()
    assert serves(agent) == over.table.version


def test_one_that_starts_while_no_keeper_watches_starts_with_stable_alone_although_the_console_answers(
    agent: JoinedAgent, over: Over
) -> None:
    over.ago = 60.0
    agent.begin()
    assert serves(agent) == over.table.stable_only.version
    agent.turn()
    assert serves(agent) == over.table.stable_only.version
    over.ago = 0.0
    agent.turn()
    assert serves(agent) == over.table.version


@pytest.mark.parametrize("has_gone", [False, True])
def test_a_process_that_finds_envoy_running_and_no_keeper_leaves_to_the_guard_what_answers(
    agent: JoinedAgent, over: Over, monkeypatch: pytest.MonkeyPatch, has_gone: bool
) -> None:
    monkeypatch.setattr(agent.envoy, "is_away", lambda: False)
    over.ago = 10.0
    if has_gone:
        mark(agent.folder).put("nobody watches")
    agent.begin()
    assert serves(agent) == (over.table.stable_only if has_gone else over.table).version


def test_a_process_that_follows_another_counts_the_silence_from_before_it(agent: JoinedAgent, tmp_path: Path) -> None:
    agent.turn()
    agent.turn()
    at = agent.envoy.renewed_at()
    assert at is not None
    for silent, has_gone in ((14.0, False), (15.1, True)):
        guard = Guard(folder=agent.folder, beats=Heartbeats(folder=tmp_path / "beats"), agent=0, limit=15.0)
        guard.switch.elapsed = lambda at=at + silent: at
        guard.look()
        assert (mark(agent.folder).read() is not None) is has_gone


def test_the_time_that_an_answer_was_under_way_counts_as_silence(agent: JoinedAgent, over: Over) -> None:
    agent.turn()
    over.ago = 3.0
    agent.turn()
    agent.turn()
    renewed = agent.envoy.renewed_at()
    assert renewed is not None
    assert 3.0 <= time.monotonic() - renewed < 60


def test_it_says_from_which_address_it_reaches_the_relay(agent: JoinedAgent) -> None:
    agent.relay = {"address": "127.0.0.1", "port": 7}
    assert agent.report()["own_address"] == "127.0.0.1"


def test_it_says_by_the_consoles_clock_until_when_its_log_has_been_sent(
    agent: JoinedAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the report is under way: so the console takes no later time for it."""
    console, told = Console("https://10.0.0.5", "token", None, "here"), list[dict[str, Any]]()

    def answer(_: str, json: dict[str, Any]) -> dict[str, Any]:
        told.append(json)
        return {"at": 7000.0 + len(told), "heard": len(told) > 1}

    monkeypatch.setattr(console, "_post", answer)
    agent.console = console
    agent.shipped_at = time.monotonic()
    for _ in range(2):
        console.exchange(agent.report())
    assert [each["after"] for each in told] == [None, 7001.0, 7002.0], "what was not heard is sent again"
    assert told[0]["shipped_until"] is None
    assert 6900 < told[2]["shipped_until"] <= 7002.0, "it was sent before that answer"


@pytest.mark.parametrize("answer", [b"<html>Please sign in</html>", b"[1]", b"", b'{"at": 1.0, "hea'])
@pytest.mark.parametrize("status", [200, 502])
def test_what_a_proxy_answers_in_the_consoles_place_ends_no_gateway(answer: bytes, status: int) -> None:
    console = Console("https://10.0.0.5", "token", None, "here")
    replies = httpx.MockTransport(lambda _: httpx.Response(status, content=answer))
    console._http = httpx.Client(base_url="https://10.0.0.5", transport=replies)
    with pytest.raises(Unreachable, match="is not the console"):
        console.exchange({})
    with pytest.raises(Unreachable, match="is not the console"):
        console.send("live", "a" * 32, 0, b"x", is_whole=False)


def test_its_console_hears_since_when_it_serves_stable_builds_alone(agent: JoinedAgent) -> None:
    agent.turn()
    assert agent.report()["stable_only"] is None
    mark(agent.folder).put("nobody watches")
    told = cast("dict[str, str]", agent.report()["stable_only"])
    assert told["why"] == "nobody watches"
    assert datetime.fromisoformat(told["since"]).tzinfo is not None


@pytest.mark.timeout(180)
def test_callers_show_another_token_and_none_is_turned_away_while_one_envoy_follows_another(
    tmp_path: Path, over: Over
) -> None:
    files, port, stop = Files(tmp_path), free_port(), threading.Event()

    def with_token(token: str) -> Envoy:
        return Envoy(
            tmp_path / "envoy", port=port, outside=Outside(host=HOST, certificate=files.door.in_use, token=token)
        )

    agent = JoinedAgent(
        folder=tmp_path, console=cast("Console", over), envoy=with_token("x"), relay={"address": "10.0.0.5", "port": 7},
        unwatched=15.0, callers="x", with_token=with_token,
    )  # fmt: skip
    agent.envoy.prepare()
    note_started(agent.envoy)
    loops = [threading.Thread(target=each, args=(stop,)) for each in (agent.keep_running, agent.succeed)]
    for each in loops:
        each.start()
    trusting, seen = ssl.create_default_context(cafile=files.ca), list[set[int]]()

    def told() -> set[int]:
        """By token; the routes lead nowhere here, and a caller who is let in hears 404."""
        found = set()
        for token in ("x", "y"):
            bearer = {"authorization": f"Bearer {token}"}
            answer = httpx.get(f"https://{HOST}:{port}/nowhere", headers=bearer, verify=trusting, timeout=20)
            found.add(answer.status_code)
        seen.append(found)
        return found

    try:
        eventually(lambda: told() == {401, 404})
        first = agent._process
        over.callers = "y"
        agent.turn()
        while agent._process is first or is_changed(agent.envoy):
            told()  # no connection is refused
        assert told() == {401, 404}
        with httpx.Client(verify=trusting, headers={"authorization": "Bearer y"}) as now:
            assert now.get(f"https://{HOST}:{port}/nowhere").status_code == 404, "the new token is the one"
    finally:
        stop.set()
        for each in loops:
            each.join(120)
        agent.end_envoy()
    assert set().union(*seen[1:]) == {401, 404}, "whichever of the two answers meanwhile"


@pytest.mark.timeout(120)
def test_a_guard_ends_a_process_that_hangs_goes_on_without_it_and_leaves_its_place_to_the_next(
    agent: JoinedAgent, over: Over, tmp_path: Path
) -> None:
    over.unwatched = 1.0
    over_here = (
        "import sys, time, pathlib; from sluicegate.flows.wiring import gateway_guard as g; "
        "from sluicegate.services.heartbeat import Heartbeats; beats = Heartbeats(folder=pathlib.Path(sys.argv[2])); "
        "beats.beat(g.NAME, 999); guard = g.start(pathlib.Path(sys.argv[1]), beats); "
        "print(guard.pid, file=sys.stderr, flush=True); "
        "time.sleep(5); print(guard.poll(), file=sys.stderr, flush=True); beats.beat(g.NAME, 28); time.sleep(600)"
    )
    agent.turn()
    words = (sys.executable, "-c", over_here, str(agent.folder), str(tmp_path / "beats"))
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as hanging:
        try:
            assert hanging.stderr is not None
            guard = psutil.Process(int(hanging.stderr.readline()))
            assert hanging.stderr.readline() == "None\n", "a beat of the process before says nothing of this one"
            assert hanging.wait(60) == -signal.SIGKILL
            eventually(lambda: mark(agent.folder).read() is not None, seconds=60)  # its switch goes on
            assert serves(agent) == over.table.stable_only.version
            assert guard.is_running()
        finally:
            hanging.kill()
            end_former(agent.folder)
    psutil.wait_procs([guard], timeout=10)
    assert not guard.is_running() or guard.status() == psutil.STATUS_ZOMBIE
