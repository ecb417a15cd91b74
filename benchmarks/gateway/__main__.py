"""What the gateway costs next to a bare Envoy, and how fast a weight change takes effect under load.

    python -m benchmarks.gateway [--rounds N] [--requests N] [--changes N] [--json]

Rounds are interleaved: each asks every variant in turn, so that a busy machine is busy for all of them. The processor
time that Envoy itself took is the figure to trust where other processes run; requests a second are of one connection
with fifty requests under way, which an upstream Envoy answers at once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import re
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from registry.build import BuildRef, Endpoint
from services.traffic.envoy import Envoy
from services.traffic.envoy_files import publish
from services.traffic.routes import routes
from services.traffic.table import RouteTable
from tests.integration.traffic_load import constant_services, load
from tests.integration.traffic_rig import Gateway, build, end, eventually, free_port, gateway, standing

UNDER_WAY = 50
BODY = b'{"dataframe_split": {"columns": ["a", "b", "c", "d"], "data": [[1.0, 2.0, 3.0, 4.0]]}}'
Config = dict[str, object]


@dataclass
class Variant:
    """One Envoy and what its rounds measured."""

    process: subprocess.Popen[bytes]
    port: int
    cpu_us: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)


def whole(_: Config) -> None:
    """As it is."""


def without_log(manager: Config) -> None:
    manager["access_log"] = []


def bare(manager: Config) -> None:
    """One route to one cluster, no log, no filter but the router."""
    for key in ("early_header_mutation_extensions", "access_log", "local_reply_config", "request_id_extension"):
        manager.pop(key)
    manager["http_filters"] = manager["http_filters"][-1:]  # type: ignore[index]
    manager.pop("rds")
    route = {"match": {"prefix": "/"}, "route": {"cluster": "delays.v1"}}
    host = {"name": "all", "domains": ["*"], "routes": [route]}
    manager["route_config"] = {"name": "bare", "validate_clusters": False, "virtual_hosts": [host]}


VARIANTS: dict[str, Callable[[Config], None]] = {"bare": bare, "without log": without_log, "gateway": whole}


@contextlib.contextmanager
def variants(folder: Path, table: RouteTable) -> Iterator[dict[str, Variant]]:
    running: dict[str, Variant] = {}
    try:
        for name, change in VARIANTS.items():
            running[name] = _start(folder / name.replace(" ", "-"), table, change)
        yield running
    finally:
        for variant in running.values():
            end(variant.process)


def _start(folder: Path, table: RouteTable, change: Callable[[Config], None]) -> Variant:
    plane = Envoy(folder, port=free_port())
    plane.prepare()
    path = folder / "bootstrap.json"
    config = json.loads(path.read_text())
    change(config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"])
    publish(path, json.dumps(config))
    with contextlib.suppress(Exception):
        plane.apply(table)
    command = re.sub(r"--concurrency \d+", "--concurrency 1", " ".join(plane.command())).split()
    variant = Variant(subprocess.Popen(command), plane.places.port)
    eventually(lambda: httpx.post(f"{plane.url}/delays/predict", content=BODY).status_code == 200)
    return variant


def ask(port: int, count: int) -> None:
    head = (
        "POST /delays/predict HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\naccept: */*\r\n"
        f"content-length: {len(BODY)}\r\nx-user-id: u"
    )
    requests = [f"{head}{number}\r\n\r\n".encode() + BODY for number in range(count)]
    with socket.create_connection(("127.0.0.1", port), timeout=60) as link:
        for start in range(0, count, UNDER_WAY):
            some = requests[start : start + UNDER_WAY]
            link.sendall(b"".join(some))
            answers = bytearray()
            while answers.count(b"\r\n\r\n{}") < len(some):
                answers += link.recv(1 << 18)


def measure_cost(running: dict[str, Variant], rounds: int, requests: int) -> None:
    for turn in range(rounds + 1):
        for variant in running.values():
            process = psutil.Process(variant.process.pid)
            before, began = sum(process.cpu_times()[:2]), time.perf_counter()
            ask(variant.port, requests)
            wall, cpu = time.perf_counter() - began, sum(process.cpu_times()[:2]) - before
            if turn:  # the first round warms up
                variant.cpu_us.append(cpu / requests * 1e6)
                variant.rate.append(requests / wall)


def measure_changes(running: Gateway, endpoints: dict[BuildRef, Endpoint], changes: int) -> dict[str, float]:
    """From `apply` to Envoy reporting the new version, while callers over HTTP/1.1 and HTTP/2 ask without pause."""
    running.plane.apply(routes([standing(weight=2000)], endpoints))
    taken = []
    url = running.plane.url
    with load(url, http2=False, callers=4) as first, load(url, http2=True, callers=4) as second:
        for epoch in range(2, changes + 2):
            table = routes([standing(weight=100 + epoch % 9000, epoch=epoch)], endpoints)
            began = time.perf_counter()
            running.plane.apply(table)
            taken.append((time.perf_counter() - began) * 1000)
    failed = sum(count for record in (first, second) for status, count in record.statuses.items() if status != 200)
    return {
        "changes": changes,
        "requests": first.total + second.total,
        "failed": failed + len(first.errors) + len(second.errors),
        "p50_ms": statistics.median(taken),
        "p99_ms": statistics.quantiles(taken, n=100)[98],
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--requests", type=int, default=3000)
    options.add_argument("--changes", type=int, default=1000)
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    figures = run(chosen.rounds, chosen.requests, chosen.changes)
    print(json.dumps(figures, indent=2) if chosen.json else _page(figures))


def run(rounds: int, requests: int, changes: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as name, constant_services(Path(name), build("1"), build("2")) as endpoints:
        folder = Path(name)
        with variants(folder, routes([standing(weight=2000)], endpoints)) as running:
            measure_cost(running, rounds, requests)
        with gateway(folder / "changes") as changing:
            propagation = measure_changes(changing, endpoints, changes)
    cost = {
        name: {"cpu_us": statistics.median(variant.cpu_us), "per_second": statistics.median(variant.rate)}
        for name, variant in running.items()
    }
    return {
        "machine": {"cpus": psutil.cpu_count(), "python": platform.python_version(), "load": psutil.getloadavg()},
        "cost": cost,
        "cpu_ratio": cost["bare"]["cpu_us"] / cost["gateway"]["cpu_us"],
        "rate_ratio": statistics.median(
            ours / plain for ours, plain in zip(running["gateway"].rate, running["bare"].rate, strict=True)
        ),
        "weight_changes": propagation,
    }


def _page(figures: dict[str, object]) -> str:
    cost: dict[str, dict[str, float]] = figures["cost"]  # type: ignore[assignment]
    lines = [f"{name:12} {row['cpu_us']:7.0f} us CPU {row['per_second']:9.0f} requests/s" for name, row in cost.items()]
    lines.append(f"next to bare: {figures['rate_ratio']:.2f} of its requests/s, {figures['cpu_ratio']:.2f} by CPU")
    change: dict[str, float] = figures["weight_changes"]  # type: ignore[assignment]
    lines.append(
        f"{change['changes']} weight changes under load: {change['failed']} of {change['requests']} requests failed; "
        f"in force after {change['p50_ms']:.0f} ms (p50), {change['p99_ms']:.0f} ms (p99)"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
