"""What a caller may cost the gateway: connections, silence, slow bodies. And that it lives on its files alone."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluicegate.registry.words.errors import RoutesRejected
from sluicegate.services.traffic.envoy.limits import Limits
from sluicegate.services.traffic.routes import routes
from tests.integration.traffic_load import constant_services
from tests.integration.traffic_rig import Gateway, build, eventually, gateway, standing

pytestmark = pytest.mark.slow
LIMITS = Limits(
    connections=3, idle_seconds=0.4, receive_seconds=0.6, headers_seconds=0.5, streams=5, http2_connections=1
)
REQUEST = b"POST /delays/predict HTTP/1.1\r\nhost: g\r\ncontent-length: 2\r\n\r\n{}"


@pytest.fixture(scope="module")
def envoy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("limits")
    with constant_services(folder, build("1")) as found, gateway(folder / "envoy", limits=LIMITS) as running:
        running.plane.apply(routes([standing()], found), found)
        yield running


def connect(envoy: Gateway) -> socket.socket:
    return socket.create_connection((envoy.plane.places.host, envoy.plane.places.port), timeout=20)


def answer(link: socket.socket) -> bytes:
    """What comes until the gateway closes the connection or the answer's end."""
    with contextlib.suppress(ConnectionError):
        link.sendall(REQUEST)
        return link.recv(4096)
    return b""


def test_connections_beyond_the_limit_are_closed_and_those_within_are_served(envoy: Gateway) -> None:
    assert eventually(lambda: stat(envoy, "http.live.downstream_cx_active") == 0)
    with contextlib.ExitStack() as stack:
        links = [stack.enter_context(connect(envoy)) for _ in range(3)]
        assert all(answer(link).startswith(b"HTTP/1.1 200") for link in links)
        assert answer(stack.enter_context(connect(envoy))) == b""
        assert answer(links[0]).startswith(b"HTTP/1.1 200")
        assert envoy.plane.observe() is not None, "callers must not keep us from its admin interface"
    assert eventually(lambda: answer_once(envoy).startswith(b"HTTP/1.1 200"))


def answer_once(envoy: Gateway) -> bytes:
    with connect(envoy) as link:
        return answer(link)


def stat(envoy: Gateway, pattern: str) -> int:
    return sum(int(value) for value in envoy.plane._admin.stats(f"^{pattern}$").values())


def test_an_idle_connection_is_closed(envoy: Gateway) -> None:
    with connect(envoy) as link:
        assert answer(link).startswith(b"HTTP/1.1 200")
        assert link.recv(4096) == b""


def test_a_caller_that_never_ends_its_body_is_turned_away(envoy: Gateway) -> None:
    """Also one that keeps sending a little."""
    with connect(envoy) as link:
        link.sendall(b"POST /delays/predict HTTP/1.1\r\nhost: g\r\ncontent-length: 100000\r\n\r\n")
        link.settimeout(0.1)
        told = b""
        while not told:
            with contextlib.suppress(TimeoutError, BrokenPipeError):
                told = link.recv(4096)
                break
            link.sendall(b"x")
        assert told.startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("sent", [b"", b"PO", b"POST /delays/predict HTTP/1.1\r\nhost: g\r\nx-a: "])
def test_a_caller_that_never_ends_its_headers_is_turned_away(envoy: Gateway, sent: bytes) -> None:
    """Also one that keeps sending a little, and one that sends nothing at all."""
    with connect(envoy) as link:
        link.sendall(sent)
        link.settimeout(0.1)
        told = None
        while told is None:
            assert answer_once(envoy).startswith(b"HTTP/1.1 200"), "others are served meanwhile"
            with contextlib.suppress(ConnectionError):
                try:
                    told = link.recv(4096)
                except TimeoutError:
                    link.sendall(b"x" if sent.endswith(b" ") else b"")
        assert told[:12] in (b"", b"HTTP/1.1 408")


def test_http2_connections_beyond_theirs_are_closed_and_callers_of_http1_are_served(envoy: Gateway) -> None:
    """A connection of HTTP/2 may have many requests under way, and each of them a body that is held."""
    import h2.connection

    link = h2.connection.H2Connection()
    link.initiate_connection()
    preface = link.data_to_send()
    assert eventually(lambda: stat(envoy, "http.live.downstream_cx_active") == 0)
    with connect(envoy) as first, connect(envoy) as second:
        first.sendall(preface)
        assert first.recv(4096)
        second.sendall(preface)
        with contextlib.suppress(ConnectionError):
            assert second.recv(4096) == b""
        assert answer_once(envoy).startswith(b"HTTP/1.1 200")


def test_an_http2_caller_is_told_how_many_requests_it_may_have_under_way(envoy: Gateway) -> None:
    import h2.config
    import h2.connection
    import h2.settings

    link = h2.connection.H2Connection(config=h2.config.H2Configuration(client_side=True))
    link.initiate_connection()
    with connect(envoy) as wire:
        wire.sendall(link.data_to_send())
        while h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS not in link.remote_settings:
            link.receive_data(wire.recv(4096))
    assert link.remote_settings.max_concurrent_streams == LIMITS.streams


def test_it_starts_from_its_last_files_with_nothing_else_alive(tmp_path: Path) -> None:
    """Only the command is run; nobody prepares, compiles or applies."""
    with constant_services(tmp_path, build("1"), build("2")) as found, gateway(tmp_path / "envoy") as running:
        table = routes([standing(weight=3000)], found)
        running.plane.apply(table, found)
        running.kill()
        running.restart()
        assert eventually(lambda: running.plane.observe() == table.version)
        with running.client() as client:
            got = {client.post("/delays/predict", json={}, headers={"x-user-id": f"u{n}"}).headers["x-sluice-build"]
                   for n in range(60)}  # fmt: skip
    assert got == {"1", "2"}


def test_its_own_log_begins_anew_when_it_is_large(tmp_path: Path) -> None:
    with gateway(tmp_path) as running:
        log = running.plane.log
        assert running.plane.rotate_own_log() is False
        size = log.stat().st_size
        with log.open("a") as file:
            file.write("x" * 100)
        assert running.plane.rotate_own_log(limit=size + 50) is True
        assert log.with_name("envoy.log.1").stat().st_size >= size + 100
        with pytest.raises(RoutesRejected, match="unexpected EOF"):
            running.plane._routes.push("{", "any")
        assert log.exists(), "and the reason of a refusal is still found"
