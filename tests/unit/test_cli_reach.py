"""How a command reaches the record: once, at one place, whatever happens to connections."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from sluicegate.flows.cli import reach
from sluicegate.flows.wiring import runtime
from sluicegate.registry.words.errors import NotFound, Unreachable, UsageError
from sluicegate.services.heartbeat import Heartbeats
from sluicegate.services.host.addresses import Api
from sluicegate.services.host.folder import StateFolder


class Console(HTTPServer):
    """Takes each request, and answers from the one of this number on; before it hangs up without a word."""

    def __init__(self, answers_from: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers_from, self.keys = answers_from, list[str | None]()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Console

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.keys.append(self.headers.get("idempotency-key"))
        if len(self.server.keys) < self.server.answers_from:
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        body = json.dumps({"done": len(self.server.keys)}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installation with a ledger and no console."""
    for name in ("SLUICE_API", "SLUICE_LEDGER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLUICE_STATE", str(tmp_path))
    monkeypatch.setenv("SLUICE_TOKEN", "t")
    monkeypatch.setattr(reach, "PAUSES", (0.0, 0.0))
    (tmp_path / "ledger.db").touch()
    runtime.current_runtime.cache_clear()
    yield tmp_path
    runtime.current_runtime.cache_clear()


def console(monkeypatch: pytest.MonkeyPatch, answers_from: int) -> Console:
    """A console that SLUICE_API names."""
    server = Console(answers_from)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("SLUICE_API", server.url)
    return server


def abort() -> object:
    return reach.call("POST", "/api/v1/rollouts/m/abort", {"reason": "x"})


def test_after_a_lost_answer_the_same_order_is_given_again_at_the_same_place(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = console(monkeypatch, answers_from=3)
    try:
        assert abort() == {"done": 3}
        assert len(set(server.keys)) == 1
        assert server.keys[0]
        assert abort() == {"done": 4}
        assert len(set(server.keys)) == 2, "another command is another order"
    finally:
        server.shutdown()
        server.server_close()


def test_where_no_answer_ever_comes_the_command_says_that_it_does_not_know(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = console(monkeypatch, answers_from=99)
    try:
        with pytest.raises(reach.Unanswered, match="we do not know whether it did"):
            abort()
        assert len(server.keys) == 3
    finally:
        server.shutdown()
        server.server_close()


def test_a_console_that_was_named_is_not_replaced_by_the_ledger(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Console(1)
    server.server_close()
    monkeypatch.setenv("SLUICE_API", server.url)
    with pytest.raises(Unreachable, match="SLUICE_API names this one"):
        abort()


def test_where_nothing_is_the_other_place_to_ask_is_named(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (state / "ledger.db").unlink()
    with pytest.raises(Unreachable, match="or set SLUICE_API to the URL of a console") as raised:
        abort()
    assert "sluice up" in str(raised.value)
    monkeypatch.setenv("SLUICE_API", "http://127.0.0.1:9")
    monkeypatch.delenv("SLUICE_TOKEN")
    with pytest.raises(UsageError, match="set SLUICE_TOKEN"):
        abort()


def test_without_a_console_the_same_act_is_done_on_the_ledger(state: Path) -> None:
    values = {"kind": "plan", "model": "m", "steps": [{"weight": 10}]}
    changed = [reach.call("POST", "/api/v1/documents", {"values": values})["changed"] for _ in range(2)]
    assert changed == [True, False]
    with pytest.raises(NotFound, match="there is no rollout 'm'"):
        abort()


def test_a_console_of_this_machine_that_hangs_is_not_waited_for(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[str]()
    monkeypatch.setattr(reach, "console_api", lambda _: Api(url="http://127.0.0.1:1", token="t"))
    monkeypatch.setattr(reach, "ask", lambda api, asking: asked.append("console"))
    monkeypatch.setattr(reach, "_on_ledger", lambda asking: asked.append("ledger"))
    beats = StateFolder(root=state).beats
    Heartbeats(folder=beats).beat("console")
    reach.call("GET", "/api/v1/rollouts")
    Heartbeats(folder=beats, elapsed=lambda: time.monotonic() - reach.HUNG - 1).beat("console")
    reach.call("GET", "/api/v1/rollouts")
    monkeypatch.setenv("SLUICE_API", "http://127.0.0.1:1")
    reach.call("GET", "/api/v1/rollouts")
    assert asked == ["console", "ledger", "console"], "one that was named is asked, and no other"


def test_what_is_no_answer_of_a_console_is_told_with_what_it_said(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def strange(handler: Handler) -> None:
        handler.send_response(400)
        handler.end_headers()
        handler.wfile.write(b"Invalid host header")

    server = console(monkeypatch, 1)
    monkeypatch.setattr(Handler, "do_POST", strange)
    try:
        with pytest.raises(UsageError, match="/rollouts/m/abort answered 400: Invalid host header") as refused:
            abort()
        assert "SLUICE_CONSOLE_HOSTS" in str(refused.value.fix)
    finally:
        server.shutdown()
        server.server_close()
