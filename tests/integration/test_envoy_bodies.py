"""Large bodies, held by many callers at once, on a real Envoy: whoever sends little is served throughout."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluicegate.services.traffic.envoy.limits import Limits
from sluicegate.services.traffic.routes import routes
from tests import plain_http
from tests.integration.traffic_rig import Gateway, Upstream, build, eventually, gateway, standing, upstreams

pytestmark = [pytest.mark.slow, pytest.mark.chaos]
MEGABYTE = 1_000_000
HEAD = "POST /delays/predict HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\n"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Upstream]]:
    limits = Limits(receive_seconds=60)
    with (
        upstreams(build("1")) as services,
        gateway(tmp_path_factory.mktemp("bodies") / "envoy", limits=limits) as running,
    ):
        endpoints = {build("1"): (services["1"].endpoint,)}
        running.plane.apply(routes([standing(timeout="30s")], endpoints), endpoints)
        yield running, services["1"]


@pytest.fixture
def envoy(stack: tuple[Gateway, Upstream]) -> Iterator[Gateway]:
    """With nothing under way, before and after."""
    running, service = stack
    service.mode("ok")
    yield running
    service.mode("ok")
    assert eventually(lambda: running.plane.requests_under_way() == 0)


class Caller:
    """Sends as much of a request as it is told, and no more."""

    def __init__(self, envoy: Gateway, head: str, body: bytes) -> None:
        self.link = socket.create_connection((envoy.plane.places.host, envoy.plane.places.port), timeout=60)
        self.link.setblocking(False)
        self.rest = memoryview(head.encode() + b"\r\n" + body)

    def send(self) -> bool:
        """Send what is taken just now; whether anything was."""
        before = len(self.rest)
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while self.rest:
                self.rest = self.rest[self.link.send(self.rest[: 1 << 20]) :]
        return len(self.rest) < before

    def answer(self, seconds: float = 60) -> bytes:
        """Send the rest and read the beginning of the answer; empty where none came."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.send()
            if select.select([self.link], [], [], 0.01)[0]:
                with contextlib.suppress(ConnectionError):
                    return self.link.recv(1 << 16)
                return b""
        return b""


@contextlib.contextmanager
def callers(envoy: Gateway, count: int, head: str, body: bytes) -> Iterator[list[Caller]]:
    """So many who have sent what was taken of this, and hold the line."""
    with contextlib.ExitStack() as stack:
        crowd = [Caller(envoy, head, body) for _ in range(count)]
        for caller in crowd:
            stack.enter_context(contextlib.closing(caller.link))
        heard = time.monotonic()
        while time.monotonic() - heard < 1:
            if sum(caller.send() for caller in crowd):
                heard = time.monotonic()
            time.sleep(0.02)
        yield crowd


def told(size: int) -> tuple[str, bytes]:
    """All but the last byte of a body whose size is told."""
    return f"{HEAD}content-length: {size}\r\n", b" " * (size - 1)


def untold(size: int) -> tuple[str, bytes]:
    """All but the end of a body in chunks."""
    return f"{HEAD}transfer-encoding: chunked\r\n", (b"f4240\r\n" + b" " * MEGABYTE + b"\r\n") * (size // MEGABYTE)


def statuses(envoy: Gateway, count: int, size: int = 2) -> set[int]:
    with envoy.client() as client:
        return {client.post("/delays/predict", content=b" " * size).status_code for _ in range(count)}


def held(envoy: Gateway) -> int:
    """MiB that Envoy has, as it counts them every five seconds."""
    return stat(envoy, "server.memory_allocated") >> 20


def stat(envoy: Gateway, name: str) -> int:
    return int(envoy.plane._admin.stats(f"^{name}$")[name])


@pytest.mark.parametrize(
    ("count", "head", "body"),
    [(70, *told(16 * MEGABYTE)), (230, *told(5 * MEGABYTE)), (70, *untold(16 * MEGABYTE)), (1250, *told(900_000))],
    ids=["70 of 16 MB", "230 of 5 MB", "70 of 16 MB in chunks", "1250 of 0.9 MB"],
)
def test_who_sends_little_is_served_while_many_hold_large_bodies(
    envoy: Gateway, count: int, head: str, body: bytes
) -> None:
    with callers(envoy, count, head, body):
        assert statuses(envoy, 100) == {200}
        assert eventually(lambda: held(envoy) > 25), "they do hold it"
        print(f"\n{count} of {len(body) / 1e6:.1f} MB: {held(envoy)} MiB")
    assert statuses(envoy, 2, 15 * MEGABYTE) == {200}, "and then large bodies are taken again"


def test_large_bodies_and_medium_ones_do_not_wait_for_one_another(envoy: Gateway) -> None:
    with callers(envoy, 20, *told(15 * MEGABYTE)):
        assert statuses(envoy, 5, 500_000) == {200}
    with callers(envoy, 80, *told(500_000)):
        assert statuses(envoy, 2, 5 * MEGABYTE) == {200}


def test_who_waits_has_its_turn(envoy: Gateway) -> None:
    head, body = told(5 * MEGABYTE)
    with callers(envoy, 30, head, body + b"x") as crowd:
        assert {caller.answer()[:12] for caller in crowd} == {b"HTTP/1.1 200"}


def test_beyond_the_line_it_is_said_when_to_come_back(tmp_path: Path, stack: tuple[Gateway, Upstream]) -> None:
    limits = Limits(large_requests=2, waiting_requests=3)
    with gateway(tmp_path / "envoy", limits=limits) as running:
        running.plane.apply(
            routes([standing()], {build("1"): (stack[1].endpoint,)}), {build("1"): (stack[1].endpoint,)}
        )
        with callers(running, 20, *told(5 * MEGABYTE)) as crowd:
            turned_away = [caller for caller in crowd if select.select([caller.link], [], [], 0.5)[0]]
            answers = [caller.answer() for caller in turned_away]
            assert len(turned_away) >= 20 - 2 * 2 - 3 * 2
            assert statuses(running, 20) == {200}
            figures = running.plane.gateway_stats()
            assert figures["refused_bodies.large"] == len(turned_away)
            assert 3 <= figures["waiting_bodies.large"] <= 20 - 2 - len(turned_away)
        assert running.plane.gateway_stats()["refused_bodies.medium"] == 0
        assert all(answer.startswith(b"HTTP/1.1 503") for answer in answers)
        assert all(b"retry-after: 1\r\n" in answer and b"try again" in answer for answer in answers)


def test_callers_who_never_read_their_answer_keep_nobody_out(stack: tuple[Gateway, Upstream], envoy: Gateway) -> None:
    stack[1].mode("bloat")
    with callers(envoy, 300, f"{HEAD}content-length: 2\r\n", b"{}"):
        assert eventually(lambda: stat(envoy, "cluster.delays.v1.upstream_rq_total") >= 300)
        time.sleep(6)
        assert statuses(envoy, 20) == {200}
        print(f"\n300 who do not read: {held(envoy)} MiB")
        assert held(envoy) < 0.5 * (Limits().heap_bytes >> 20)


def test_a_model_that_hangs_on_large_bodies_costs_no_more_than_there_is(
    stack: tuple[Gateway, Upstream], envoy: Gateway
) -> None:
    """Bodies that were passed on stay, for another try."""
    stack[1].mode("hold")
    (large, body), (medium, other) = told(16_700_000), told(1_000_000)
    with callers(envoy, 30, large, body + b"x"), callers(envoy, 100, medium, other + b"x"):
        time.sleep(6)
        print(f"\nheld for a model that hangs: {held(envoy)} MiB")
        assert 100 < held(envoy) < 0.7 * (Limits().heap_bytes >> 20)
        stack[1].mode("ok")


def test_each_request_leaves_one_line_whichever_way_it_went(stack: tuple[Gateway, Upstream], envoy: Gateway) -> None:
    """Also of callers who leave: before it is their turn, while they send, and while they wait for the answer."""

    def written() -> int:
        return sum(len(path.read_bytes().splitlines()) for path in envoy.plane.logs.glob("live*.jsonl"))

    assert statuses(envoy, 3) == {200}
    assert statuses(envoy, 3, 100_000) == {200}
    assert statuses(envoy, 3, 3 * MEGABYTE) == {200}
    assert statuses(envoy, 1, 17 * MEGABYTE) == {413}
    with callers(envoy, 40, *told(2 * MEGABYTE)), callers(envoy, 700, *told(900_000)):
        pass
    stack[1].mode("hold")
    head, body = told(50_000)
    with callers(envoy, 5, head, body + b"x"):
        eventually(lambda: stat(envoy, "cluster.delays.v1.upstream_rq_active") >= 5)
    stack[1].mode("ok")
    eventually(lambda: envoy.plane.requests_under_way() == 0)
    ended = envoy.plane.served().ended["live"]
    assert eventually(lambda: written() >= ended)
    assert written() == ended


def test_the_service_is_told_nothing_of_the_way(stack: tuple[Gateway, Upstream], envoy: Gateway) -> None:
    def seen(size: int) -> dict[str, str]:
        with envoy.client() as client:
            headers = {"x-sluice-detour": "1", "x-user-id": "ada", "x-request-id": "mine"}
            answer = client.post("/delays/predict?a=%2525", content=b" " * size, headers=headers)
        assert answer.headers["x-sluice-build"] == "1"
        got = plain_http.get(f"http://{stack[1].endpoint.address}/-/last").json()
        assert got["x-request-id"] == answer.headers["x-request-id"] != "mine"
        assert answer.json()["path"] == "/predict"
        own = ("x-request-id", "traceparent", "content-length")
        return {name: value for name, value in got.items() if name not in own}

    small, large = seen(2), seen(2 * MEGABYTE)
    assert small == large
