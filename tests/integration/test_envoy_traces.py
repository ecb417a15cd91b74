"""Traces on a real Envoy: traceparent reaches service and log, spans reach a real OTLP receiver, or nobody."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sluicegate.registry.words.access_log import COMMON, FORMAT_VERSION, OWN
from sluicegate.registry.words.spans import SpanReceiver
from sluicegate.services.traffic.envoy.plane import Envoy
from sluicegate.services.traffic.envoy.tracing import SERVICE
from sluicegate.services.traffic.routes import routes
from tests.integration.traffic_rig import Gateway, Upstream, build, eventually, gateway, standing, upstreams

pytestmark = pytest.mark.slow
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Receiver:
    """An OTLP receiver over HTTP that keeps the spans it was sent."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Any]] = []
        self.headers: list[str | None] = []
        received = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = b"".join(iter(self.chunk, b""))
                received.headers.append(self.headers["authorization"])
                for each in ExportTraceServiceRequest.FromString(body).resource_spans:
                    service = {a.key: a.value.string_value for a in each.resource.attributes}["service.name"]
                    received.spans += [(service, span) for scope in each.scope_spans for span in scope.spans]
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def chunk(self) -> bytes:
                data = self.rfile.read(int(self.rfile.readline(), 16))
                self.rfile.readline()
                return data

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def place(self) -> SpanReceiver:
        url = f"http://127.0.0.1:{self.server.server_port}/v1/traces"
        return SpanReceiver(url=url, headers=(("authorization", "Bearer 50%"),))


@contextmanager
def receiver() -> Iterator[Receiver]:
    receiving = Receiver()
    thread = threading.Thread(target=receiving.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiving
    finally:
        receiving.server.shutdown()
        receiving.server.server_close()
        thread.join(10)


@pytest.fixture(scope="module")
def services() -> Iterator[dict[str, Upstream]]:
    with upstreams(build("1"), build("2")) as running:
        yield running


def routed(running: Gateway, services: dict[str, Upstream], **state: Any) -> None:
    endpoints = {each.endpoint.build: (each.endpoint,) for each in services.values()}
    running.plane.apply(routes([standing(**state)], endpoints), endpoints)


def ask(running: Gateway, body: bytes = b"{}", **headers: str) -> str:
    """The traceparent that the service was sent."""
    with running.client() as client:
        answer = client.post("/delays/predict", content=body, headers=headers)
        assert answer.status_code == 200
        sent = {name.lower(): value for name, value in answer.json()["headers"].items()}
    return str(sent["traceparent"])


def logged(running: Gateway, listener: str = "live") -> list[Any]:
    path = running.plane.logs / f"{listener}.jsonl"
    rows = [json.loads(line)[str(FORMAT_VERSION)] for line in path.read_text().splitlines()]
    fields = [dict(zip((*OWN, *COMMON), [*own, *common], strict=True)) for own, common in rows]
    return [each["trace"] for each in fields if each["assigned"]]


def test_a_trace_goes_on_through_the_gateway_and_stands_in_the_log(
    tmp_path: Path, services: dict[str, Upstream]
) -> None:
    with gateway(tmp_path) as running:
        routed(running, services)
        for flags in ("01", "00"):
            version, trace, parent, sampled = ask(running, traceparent=f"00-{TRACE}-{PARENT}-{flags}").split("-")
            assert (version, trace, sampled) == ("00", TRACE, flags)
            assert (len(parent), parent != PARENT) == (16, True), "the gateway's own span"
        made = [ask(running) for _ in range(2)]
        assert len({each.split("-")[1] for each in made}) == 2
        assert all(each.endswith("-00") for each in made), "nobody keeps a span of it"
        assert ask(running, traceparent="nonsense") == "nonsense"
        running.lines(5)
        assert logged(running)[2:4] == made
        assert [str(each).split("-")[1] for each in logged(running)[:2]] == [TRACE, TRACE]
        assert peers(running) <= {each.endpoint.port for each in services.values()}, "nothing else is connected to"


def test_a_large_body_goes_its_own_way_in_the_same_trace(tmp_path: Path, services: dict[str, Upstream]) -> None:
    with gateway(tmp_path) as running:
        routed(running, services)
        sent = ask(running, bytes(running.plane.limits.small_bytes + 1), traceparent=f"00-{TRACE}-{PARENT}-01")
        assert sent.split("-")[1] == TRACE
        running.lines(1)
        assert logged(running) == [sent]


def test_a_copy_carries_the_trace_of_its_request(tmp_path: Path, services: dict[str, Upstream]) -> None:
    with gateway(tmp_path) as running:
        routed(running, services, weight=10_000, is_shadow=True)
        ask(running, traceparent=f"00-{TRACE}-{PARENT}-01")
        running.shadow_lines(1)
        assert [str(each).split("-")[1] for each in logged(running, "shadow")] == [TRACE]


def test_spans_reach_the_receiver_in_the_callers_trace(tmp_path: Path, services: dict[str, Upstream]) -> None:
    with receiver() as receiving, gateway(tmp_path, spans=receiving.place) as running:
        routed(running, services, weight=10_000)
        sent = [ask(running, traceparent=f"00-{TRACE}-{PARENT}-01") for _ in range(6)]
        ask(running, traceparent=f"00-{'1' * 32}-{PARENT}-00")
        begun = ask(running)
        assert begun.endswith("-01")
        eventually(lambda: len(receiving.spans) >= 7)
    spans = {span.span_id.hex(): (service, span) for service, span in receiving.spans}
    for each in sent:
        service, span = spans[each.split("-")[2]]
        assert (service, span.trace_id.hex(), span.parent_span_id.hex()) == (SERVICE, TRACE, PARENT)
        told = {attribute.key: attribute.value.string_value for attribute in span.attributes}
        assert (told["http.status_code"], told["sluice.build"]) == ("200", "2")
        assert told["sluice.assigned"].startswith("default;candidate;2")
    assert begun.split("-")[2] in spans
    assert not any(span.trace_id.hex() == "1" * 32 for _, span in spans.values()), "its caller said: not sampled"
    assert set(receiving.headers) == {"Bearer 50%"}


def test_a_receiver_that_is_away_costs_no_request(tmp_path: Path, services: dict[str, Upstream]) -> None:
    away = SpanReceiver(url="http://127.0.0.1:9/v1/traces")
    with gateway(tmp_path, spans=away) as running:
        routed(running, services)
        assert all(ask(running) for _ in range(30))


def peers(running: Gateway) -> set[int]:
    """The ports that the gateway is connected to."""
    assert running.process is not None
    mine = psutil.Process(running.process.pid).net_connections(kind="tcp")
    return {each.raddr.port for each in mine if each.raddr and each.laddr.port != running.plane.places.port}


def test_the_files_name_no_place_to_send_to_unless_told(tmp_path: Path) -> None:
    plane = Envoy(tmp_path, port=1)
    plane.prepare()
    clusters = json.loads((tmp_path / "bootstrap.json").read_text())["static_resources"]["clusters"]
    (otlp,) = [cluster for cluster in clusters if cluster["name"] == "otlp"]
    assert (otlp["type"], otlp["load_assignment"]["endpoints"]) == ("STATIC", [])
