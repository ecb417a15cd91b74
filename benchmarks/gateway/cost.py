"""What a request costs in the gateway, in a bare Envoy and in two gateways written in Python; short rounds, each right
after one of the bare Envoy, because a virtual machine may be half as fast some seconds later. All are started several
times, because two processes of one configuration differ by a twentieth.

The processor time that a gateway itself took is the figure to trust where other processes run; requests a second are of
sixteen connections, each with one request under way; a constant service answers at once and keeps its connections.
"""

from __future__ import annotations

import contextlib
import json
import socket
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import truediv
from pathlib import Path

import httpx

from benchmarks.results import Figure
from sluicegate.registry.audience.audience import Audience, Match, Operator
from sluicegate.registry.audience.connections import Connection, Connections, Weighted
from sluicegate.registry.words.build import BuildRef, Endpoints
from sluicegate.registry.words.errors import Unreachable
from sluicegate.services.traffic.envoy.plane import Envoy
from sluicegate.services.traffic.routes import routes
from sluicegate.services.traffic.table import RouteTable
from tests.integration.traffic_rig import end, eventually, free_port, standing

CONNECTIONS, STARTS = 16, 4
BODY = b'{"dataframe_split": {"columns": ["a", "b", "c", "d"], "data": [[1.0, 2.0, 3.0, 4.0]]}}'
BARE = "bare Envoy"
Config = dict[str, object]


@dataclass(frozen=True, kw_only=True)
class Round:
    """What one round measured."""

    cpu_us: float
    """Processor time a request, in microseconds."""
    rate: float
    """Requests a second."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """One gateway."""

    process: subprocess.Popen[bytes]
    port: int


@dataclass(frozen=True, kw_only=True)
class Taken:
    """The rounds of one kind of gateway, and the rounds of the bare Envoy right before each."""

    rounds: list[Round] = field(default_factory=list)
    before: list[Round] = field(default_factory=list)


def as_it_is(_: Config) -> None:
    """Nothing is changed."""


def bare(manager: Config, cluster: str = "delays.v1", path: str = "/", **route: object) -> None:
    """One route to one cluster, no log, no filter but the router."""
    for key in ("early_header_mutation_extensions", "access_log", "local_reply_config", "request_id_extension", "rds"):
        manager.pop(key)
    manager["http_filters"] = manager["http_filters"][-1:]  # type: ignore[index]
    only = {"match": {"prefix": path}, "route": {"cluster": cluster, **route}}
    host = {"name": "all", "domains": ["*"], "routes": [only]}
    manager["route_config"] = {"name": "bare", "validate_clusters": False, "virtual_hosts": [host]}


Routed = tuple[RouteTable, Endpoints]
"""A table, and where its builds answer."""


def crowd(endpoints: Endpoints, models: int) -> Routed:
    """Canaries at 20 % of as many models; the one that is asked is the last."""
    names = [*(f"a{n}" for n in range(models - 1)), "delays"]
    there = {
        (ref := BuildRef(model=name, version=build.version)): (replace(endpoint, build=ref),)
        for name in names
        for build, (endpoint,) in endpoints.items()
    }
    return routes([standing(model=name, weight=2000) for name in names], there), there


def table(endpoints: Endpoints, audiences: int = 0) -> Routed:
    """A canary at 20 %; with audiences, callers belong to the last of them."""
    conditions = [Match(header="x-state", operator=Operator.EXACT, operands=(f"S{n}",)) for n in range(audiences)]
    ordered = tuple(
        Connection(audience=Audience(name=f"a{n}", condition=each), weighted=(Weighted(variation="default"),))
        for n, each in enumerate(conditions)
    )
    connections = {"delays": Connections(model="delays", ordered=ordered)}
    return routes([standing(weight=2000)], endpoints, connections), endpoints


def measure(folder: Path, endpoints: Endpoints, rounds: int, requests: int) -> list[Figure]:
    """Cost of every kind of gateway, and ratios to the bare one."""
    taken = defaultdict[str, Taken](Taken)
    for start in range(STARTS):
        with _gateways(folder / str(start), endpoints) as running:
            for turn in range(rounds // STARTS + 1):
                for name in list(running)[1:]:
                    pair = _round(running[BARE], requests), _round(running[name], requests)
                    if turn:  # the first round warms up
                        taken[BARE].rounds.append(pair[0])
                        taken[name].before.append(pair[0])
                        taken[name].rounds.append(pair[1])
    return [*_absolute(taken), *_ratios(taken)]


@contextlib.contextmanager
def _gateways(folder: Path, endpoints: Endpoints) -> Iterator[dict[str, Running]]:
    running: dict[str, Running] = {}
    try:
        running[BARE] = envoy(folder / "bare", table(endpoints), bare)
        running["gateway"] = envoy(folder / "gateway", table(endpoints), as_it_is)
        running["gateway, 3 audiences"] = envoy(folder / "three", table(endpoints, 3), as_it_is)
        running["gateway, 20 audiences"] = envoy(folder / "twenty", table(endpoints, 20), as_it_is)
        running["gateway, 50 models"] = envoy(folder / "fifty", crowd(endpoints, 50), as_it_is)
        for kind in ("aiohttp", "starlette"):
            running[f"Python, {kind}"] = _python(folder, kind, endpoints)
        for each in running.values():
            url = f"http://127.0.0.1:{each.port}/delays/predict"
            eventually(lambda url=url: httpx.post(url, content=BODY).status_code == 200)
        yield running
    finally:
        for each in running.values():
            end(each.process)


def envoy(folder: Path, routed: Routed, change: Callable[[Config], None]) -> Running:
    """Start an Envoy of one worker thread with the gateway's configuration, changed."""
    plane = Envoy(folder, port=free_port())
    plane.prepare()
    path = folder / "bootstrap.json"
    config = json.loads(path.read_text())
    for chain in config["static_resources"]["listeners"][0]["filter_chains"]:
        change(chain["filters"][-1]["typed_config"])
    path.write_text(json.dumps(config))
    with contextlib.suppress(Unreachable):
        plane.apply(*routed)
    command = list(plane.command())
    command[command.index("--concurrency") + 1] = "1"
    return Running(process=subprocess.Popen(command), port=plane.places.port)


def _python(folder: Path, kind: str, endpoints: Endpoints) -> Running:
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    script = Path(__file__).with_name("python_gateway.py")
    addresses = [endpoint.address for (endpoint,) in endpoints.values()]
    command = (sys.executable, str(script), kind, str(port), *addresses)
    return Running(process=subprocess.Popen(command, cwd=folder), port=port)


def _round(gateway: Running, requests: int) -> Round:
    before, began = _processor_us(gateway.process.pid), time.perf_counter()
    ask(gateway.port, requests)
    wall, cpu = time.perf_counter() - began, _processor_us(gateway.process.pid) - before
    return Round(cpu_us=cpu / requests, rate=requests / wall)


def _processor_us(pid: int) -> float:
    """Of all threads; psutil's ticks of 10 ms are a tenth of a round."""
    return sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e3


def ask(port: int, count: int) -> None:
    """Ask for `count` predictions over sixteen connections, one each at a time."""
    head = (
        "POST /delays/predict HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\naccept: */*\r\n"
        f"content-length: {len(BODY)}\r\nx-state: S2\r\nx-user-id: u"
    )
    with contextlib.ExitStack() as stack:
        links = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 60)) for _ in range(CONNECTIONS)]
        for turn in range(count // CONNECTIONS):
            for number, link in enumerate(links):
                link.sendall(f"{head}{turn * CONNECTIONS + number}\r\n\r\n".encode() + BODY)
            for link in links:
                answer = b""
                while not answer.endswith(b"\r\n\r\n{}"):
                    answer += link.recv(65536)


def _absolute(taken: Mapping[str, Taken]) -> Iterator[Figure]:
    for name, each in taken.items():
        cpu_us, rate = (statistics.median(values) for values in _values(each.rounds))
        yield Figure(name=f"{name}: processor time a request", value=cpu_us, unit="us")
        yield Figure(name=f"{name}: requests a second", value=rate)


def _ratios(taken: Mapping[str, Taken]) -> Iterator[Figure]:
    """Medians of what each round took, to the bare one right before it."""
    targets = {"gateway": 0.85, "gateway, 3 audiences": 0.85}
    for name, each in taken.items():
        if not each.before:
            continue
        pairs = zip(_values(each.rounds), _values(each.before), strict=True)
        cpu, rate = (statistics.median(map(truediv, ours, theirs)) for ours, theirs in pairs)
        yield Figure(name=f"{name}: requests a second / bare Envoy", value=rate, at_least=targets.get(name))
        yield Figure(name=f"{name}: processor time / bare Envoy", value=cpu)


def _values(rounds: Sequence[Round]) -> tuple[list[float], list[float]]:
    return [each.cpu_us for each in rounds], [each.rate for each in rounds]
