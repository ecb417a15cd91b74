"""Launching: what it is at and for how long; what a service's own example and log tell."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from sluicegate.flows.cli.tree import tree
from sluicegate.registry.ledger.keeper_notes import note_stage, reached
from sluicegate.registry.words.build import BuildRef, Endpoint
from sluicegate.registry.words.errors import ServiceFailed
from sluicegate.registry.words.launching import Stage, launch_in_words
from sluicegate.services.bento.readiness import last_traceback, probe
from tests.doubles.ledger import MemoryLedger
from tests.unit.test_cli import VIEW

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_each_stage_is_told_with_its_time_and_a_launch_that_begins_anew_forgets_what_came_after() -> None:
    ledger = MemoryLedger()
    assert launch_in_words((), NOON, at(75)) == "waiting for Prefect to start the driver, 1m15s so far"
    for stage, seconds in ((Stage.FETCHING, 3), (Stage.ENVIRONMENT, 5), (Stage.PACKING, 65)):
        note_stage(ledger, "r", stage, at(seconds))
    words = launch_in_words(reached(ledger, "r"), NOON, at(70))
    assert words == "packing for 5s (before that: fetching its files from MLflow 2s, making its environment 1m)"
    note_stage(ledger, "r", Stage.FETCHING, at(100))
    assert launch_in_words(reached(ledger, "r"), NOON, at(101)) == "fetching its files from MLflow for 1s"
    assert reached(ledger, "other") == ()
    note_stage(ledger, "r", Stage.STARTING, at(102))
    assert launch_in_words(reached(ledger, "r"), NOON, at(142), "no node has room").startswith(
        "starting for 40s: no node has room (before that: fetching"
    )


class Service(socketserver.UnixStreamServer):
    """Is ready, and answers its example with this."""

    status, body = 200, b"[1]"


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        self._answer(200, b"")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self._answer(self.server.status, self.server.body)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with Service(str(tmp_path / "service.sock"), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def endpoint(service: Service) -> Endpoint:
    return Endpoint(build=BuildRef(model="m", version="1"), socket=str(service.server_address))


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_a_service_that_is_not_up_yet_may_be_later(service: Service, status: int) -> None:
    address = endpoint(service)
    service.status = status
    assert str(status) in str(probe(address, b"{}"))
    service.status = 200
    assert probe(address, b"{}") is None


@pytest.mark.parametrize("body", [b'{"error": "the model raised KeyError: a"}', b"the model raised KeyError: a"])
@pytest.mark.parametrize("status", [400, 500])
def test_an_example_that_is_an_error_is_one(service: Service, status: int, body: bytes) -> None:
    service.status, service.body = status, body
    with pytest.raises(ServiceFailed, match=rf"input example with {status}: the model raised KeyError: a$"):
        probe(endpoint(service), b"{}")


LOG = """2026 ready
Traceback (most recent call last):
  File "a.py", line 1, in old
ValueError: old
2026 the model failed
Traceback (most recent call last):
  File "a.py", line 2, in predict
    return rows["a"]
KeyError: 'a'
2026 another line
"""


def test_the_last_traceback_of_a_log_is_told_on_lines_of_its_own(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_traceback(log) == ""
    log.write_text("fine\n")
    assert last_traceback(log) == ""
    log.write_text("x\n" * 100_000 + LOG)
    assert last_traceback(log).splitlines() == ["", *LOG.splitlines()[5:9]]


def test_what_a_failure_tells_keeps_its_lines_below_the_tree() -> None:
    shown = tree(VIEW | {"reason": "it does not fit:\n  a wants b\n  c wants d", "actor": "keeper"})
    head, _, block = shown.partition("\n\n")
    assert "it does not fit:  (by keeper)" in head
    assert "wants" not in head
    assert block == "  a wants b\n  c wants d"
