"""Load for traffic tests: a fast constant service, a pipelining client, and clients that keep their own record."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import httpx

from sluicegate.registry.words.build import BuildRef, Endpoint
from sluicegate.services.traffic.envoy.plane import find_binary
from tests import plain_http
from tests.integration.traffic_rig import end, eventually, free_port

STATES = ("NY", "CA", "TX")
_SERVED = re.compile(rb"\r\nx-sluice-build: (\d+)\r\n")


@contextlib.contextmanager
def constant_services(folder: Path, *builds: BuildRef) -> Iterator[dict[BuildRef, tuple[Endpoint, ...]]]:
    """Services that answer 200 at once; another Envoy plays them, since a Python one would be the bottleneck."""
    endpoints = {build: (Endpoint(build=build, host="127.0.0.1", port=free_port()),) for build in builds}
    config = folder / "constant.json"
    config.write_text(
        json.dumps({"static_resources": {"listeners": [_listener(e.port) for (e,) in endpoints.values()]}})
    )
    command = [str(find_binary()), "-c", str(config), "--disable-hot-restart", "--concurrency", "1", "-l", "error"]
    process = subprocess.Popen(command)
    try:
        for (endpoint,) in endpoints.values():
            eventually(lambda endpoint=endpoint: plain_http.get(f"http://{endpoint.address}/").status_code == 200)
        yield endpoints
    finally:
        end(process)


def _listener(port: int) -> dict[str, object]:
    types = "type.googleapis.com/envoy.extensions.filters"
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "{}"}}}
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "constant",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            # An answer that comes before the whole body would close the connection.
            {
                "name": "buffer",
                "typed_config": {"@type": f"{types}.http.buffer.v3.Buffer", "max_request_bytes": 1 << 20},
            },
            {"name": "router", "typed_config": {"@type": f"{types}.http.router.v3.Router"}},
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {"name": f"port-{port}", "address": address, "filter_chains": [{"filters": filters}]}


def served(port: int, units: Sequence[str], *, path: str = "/delays/predict", batch: int = 250) -> list[str]:
    """Which build served each unit, asked over one connection with many requests under way."""
    found: list[bytes] = []
    with socket.create_connection(("127.0.0.1", port), timeout=30) as link:
        for start in range(0, len(units), batch):
            some = units[start : start + batch]
            link.sendall(b"".join(_request(path, unit) for unit in some))
            answers = bytearray()
            while answers.count(b"\r\n\r\n{}") < len(some):
                part = link.recv(1 << 18)
                assert part, "the gateway closed the connection"
                answers += part
            found += _SERVED.findall(answers)
    return [build.decode() for build in found]


def _request(path: str, unit: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: g\r\nx-user-id: {unit}\r\ncontent-length: 2\r\n\r\n{{}}"
    return head.encode()


@dataclass
class Record:
    """What the callers themselves saw."""

    statuses: dict[int, int] = field(default_factory=dict)
    builds: dict[str, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def count(self, status: int, build: str | None) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.builds[build or ""] = self.builds.get(build or "", 0) + 1

    @property
    def total(self) -> int:
        return sum(self.statuses.values()) + len(self.errors)

    @property
    def failed(self) -> int:
        return self.total - self.statuses.get(200, 0)


@contextlib.contextmanager
def load(url: str, *, http2: bool, callers: int = 8, path: str = "/delays/predict") -> Iterator[Record]:
    """Keep-alive callers that ask without pause inside the `with` block."""
    record, stop = Record(), threading.Event()
    asking = lambda: asyncio.run(run_callers(url + path, callers, record, stop, http2=http2))  # noqa: E731
    thread = threading.Thread(target=asking)
    thread.start()
    try:
        eventually(lambda: record.total > callers)
        yield record
    finally:
        stop.set()
        thread.join()


async def run_callers(url: str, callers: int, record: Record, stop: threading.Event, *, http2: bool) -> None:
    """Ask without pause until stopped."""
    await (_over_http2 if http2 else _over_http1)(url, callers, record, stop)


def metadata(unit: str) -> dict[str, str]:
    """What a caller says for a unit; where it lives follows from its name."""
    return {"x-user-id": unit, "x-state": STATES[len(unit) % len(STATES)]}


async def _over_http1(url: str, callers: int, record: Record, stop: threading.Event) -> None:
    async with aiohttp.ClientSession() as session:

        async def ask(unit: str) -> tuple[int, str | None]:
            async with session.post(url, data=b"{}", headers=metadata(unit)) as answer:
                await answer.read()
                return answer.status, answer.headers.get("x-sluice-build")

        await asyncio.gather(*(_caller(number, ask, record, stop) for number in range(callers)))


async def _over_http2(url: str, callers: int, record: Record, stop: threading.Event) -> None:
    async with httpx.AsyncClient(http1=False, http2=True, timeout=30) as session:

        async def ask(unit: str) -> tuple[int, str | None]:
            answer = await session.post(url, content=b"{}", headers=metadata(unit))
            assert answer.http_version == "HTTP/2"
            return answer.status_code, answer.headers.get("x-sluice-build")

        await asyncio.gather(*(_caller(number, ask, record, stop) for number in range(callers)))


async def _caller(number: int, ask: Callable, record: Record, stop: threading.Event) -> None:
    turn = 0
    while not stop.is_set():
        turn += 1
        try:
            record.count(*await ask(f"unit-{number}-{turn % 97}{'x' * (turn % 3)}"))
        except (aiohttp.ClientError, httpx.HTTPError, TimeoutError) as error:
            record.errors.append(repr(error))
