"""External gates on a whole stack: the keeper asks a real server, which hangs, breaks the limit, and keeps it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.integration.stack_rig import MODEL, PLAN, Load, Stack, serving_stack

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(600)]

EXTERNAL = """\
external:
  - {name: memory, source: prometheus, promql: 'max(used{version="{build}"})', below: 0.9, every: 5s, max_age: 20s,
     fails: 2 of 2}
steps:
"""


@dataclass
class Prometheus:
    """Answers as its documentation says, with the value that a test sets; None: not at all."""

    value: float | None = 0.5
    queries: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.queries += parse_qs(urlsplit(handler.path).query)["query"]
        if self.value is None:
            self.stopping.wait(120)
            return
        result = [{"metric": {}, "value": [time.time(), str(self.value)]}]
        body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()
        handler.send_response(200)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


@pytest.fixture(scope="module")
def prometheus() -> Iterator[tuple[Prometheus, str]]:
    """A server, and its address."""
    source = Prometheus()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            source.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield source, f"http://127.0.0.1:{server.server_port}"
    finally:
        source.stopping.set()
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def stack(prometheus: tuple[Prometheus, str]) -> Iterator[Stack]:
    text = PLAN.replace("steps:\n", EXTERNAL).replace("min_requests: 100", "soak: 60s")
    with serving_stack(plan_text=text, environment={"SLUICE_SOURCE_PROMETHEUS": f"{prometheus[1]} s3cret"}) as running:
        yield running


def until(stack: Stack, is_done: Callable[[dict[str, str]], bool], rollout: str) -> dict[str, str]:
    """The external gate as `show` tells it, once it is as wanted."""
    seen = stack.until(rollout, lambda view: is_done(view["external"][0]))
    gate: dict[str, str] = seen["external"][0]
    return gate


def start(stack: Stack) -> str:
    return str(stack.ask("rollout", "start", MODEL, "--build", stack.register())["id"])


def test_a_server_that_hangs_is_no_data_and_no_abort_waits_for_it(
    stack: Stack, prometheus: tuple[Prometheus, str]
) -> None:
    prometheus[0].value = None
    rollout = start(stack)
    with Load(stack.urls()["gateway"]).running(2):
        stack.until(rollout, lambda view: view["gates"][0]["verdict"] == "PASS")  # the other gates go on
        gate = until(stack, lambda gate: "not answered within 10 s" in gate["reason"], rollout)
        assert gate["verdict"] == "NO DATA"
        assert stack.ask("rollout", "show", rollout)["step"] == 1
    assert prometheus[0].queries[-1] == f'max(used{{version="{rollout.split("-v")[1].split("-")[0]}"}})'
    stack.ask("rollout", "abort", rollout, "--reason", "the source hangs")
    stack.until(rollout, lambda view: view["settled"] and view["observed"])


def test_a_number_lets_a_step_end_while_it_keeps_its_limit_and_aborts_once_it_breaks_it(
    stack: Stack, prometheus: tuple[Prometheus, str]
) -> None:
    prometheus[0].value = 0.5
    rollout = start(stack)
    with Load(stack.urls()["gateway"]).running(2):
        stack.until(rollout, lambda view: view["step"] == 2 or view["ending"] is not None)
        prometheus[0].value = 0.97
        seen = stack.until(rollout, lambda view: view["ending"] is not None)
    assert (seen["ending"], seen["weight"]) == ("aborted", 0)
    assert seen["reason"].startswith("memory failed: 2 of 2 samples break the limit (below 0.9): 0.97, 0.97")
    report = stack.ask("report", rollout)
    assert "s3cret" not in json.dumps(report)
    assert [each["keeps"] for each in report["rollout"]["external"][0]["samples"]][-2:] == [False, False]
