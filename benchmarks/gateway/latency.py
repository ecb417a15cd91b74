"""What the gateway adds to a call of a real BentoML service at half of that service's peak rate; interleaved rounds.

A bare Envoy in front of the same service shows how much of it any proxy would add on this machine. Calls are due
at even times whatever came of those before, and are timed from when they were due.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import httpx

from benchmarks.gateway.cost import as_it_is, bare, envoy
from benchmarks.predictor.run import POINT, connect, models
from benchmarks.results import Figure
from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.words.build import Build, BuildRef, Endpoint
from sluicegate.services.bento.fleet import Fleet
from sluicegate.services.bento.packer import Packer
from sluicegate.services.traffic.envoy.names import cluster_name
from sluicegate.services.traffic.routes import routes
from tests.direct_programs import DirectPrograms
from tests.integration.traffic_rig import end, eventually, standing

SECONDS = 2.0
"""Of one round of one way."""
BODY = json.dumps({"inputs": [POINT]}).encode()
JSON = {"content-type": "application/json"}
SERVED = BuildRef(model="linear", version="1")


def measure(folder: Path, rounds: int) -> list[Figure]:
    """p50 and p99 of calls made directly and through the gateway, and what the gateway adds."""
    with _service(folder) as endpoint, _proxies(folder, endpoint) as ports:
        ways = {"direct": _ask(endpoint.socket, "/predict")}
        ways |= {name: _ask(port, f"/{SERVED.model}/predict") for name, port in ports.items()}
        peak = max(len(_calls(ways["direct"], pause=0.0)) / SECONDS for _ in range(3))
        taken: dict[str, list[list[float]]] = {name: [] for name in ways}
        for turn in range(rounds + 1):
            for name, ask in ways.items():
                times = _calls(ask, pause=2 / peak)
                taken[name] += [times] if turn else []  # the first round warms up
    return _figures(peak, taken)


Ask = Callable[[http.client.HTTPConnection | None], http.client.HTTPConnection]


def _ask(place: int | str, path: str) -> Ask:
    def ask(link: http.client.HTTPConnection | None) -> http.client.HTTPConnection:
        link = link or connect(place, 30)
        link.request("POST", path, BODY, {**JSON, "x-user-id": "u"})
        answer = link.getresponse()
        answer.read()
        assert answer.status == http.HTTPStatus.OK
        return link

    return ask


def _calls(ask: Ask, pause: float) -> list[float]:
    """Milliseconds of each call of one round; calls are due every `pause` seconds, or at once.

    One caller: more of them in Python would wait for each other, on two processors even for the service.
    """
    link, taken = ask(None), []
    due = began = time.perf_counter()
    while due < began + SECONDS:
        time.sleep(max(0.0, due - time.perf_counter()))
        link = ask(link)
        done = time.perf_counter()
        taken.append((done - due) * 1e3)
        due = due + pause if pause else done
    link.close()
    return taken


@contextlib.contextmanager
def _proxies(folder: Path, endpoint: Endpoint) -> Iterator[dict[str, int]]:
    """The port of a bare Envoy and of the gateway, each with one worker thread."""
    there = {SERVED: (endpoint,)}
    routed = routes([standing(model=SERVED.model)], {SERVED}), there
    path = f"/{SERVED.model}/predict"
    alone = partial(bare, cluster=cluster_name(SERVED), path=path, prefix_rewrite="/predict")
    changes = {"bare Envoy": alone, "gateway": as_it_is}
    with contextlib.ExitStack() as stack:
        running = {}
        for number, (name, change) in enumerate(changes.items()):
            running[name] = envoy(folder / f"proxy{number}", routed, change)
            stack.callback(end, running[name].process)
        for each in running.values():
            url = f"http://127.0.0.1:{each.port}{path}"
            eventually(lambda url=url: httpx.post(url, content=BODY, headers=JSON).status_code == http.HTTPStatus.OK)
        yield {name: each.port for name, each in running.items()}


@contextlib.contextmanager
def _service(folder: Path) -> Iterator[Endpoint]:
    """The smallest model there is, packed and served as a plan would."""
    packed = Packer(folder / "bento", clock=lambda: datetime.now(UTC)).pack(
        Build(ref=SERVED, source="x"), models(folder / "models")["Linear"], serve=Serve()
    )
    programs = DirectPrograms()
    fleet = Fleet(folder / "services", bentos=folder / "bento", programs=programs)
    try:
        fleet.start(SERVED, packed, Serve())
        eventually(lambda: fleet.probe(SERVED) is None)
        yield fleet.endpoints()[SERVED][0]
    finally:
        programs.close()


def _figures(peak: float, taken: dict[str, list[list[float]]]) -> list[Figure]:
    """Medians over the rounds, and of what each round through the gateway took more than the direct one beside it."""
    figures = [Figure(name="calls a second, half of the service's peak", value=peak / 2)]
    for which, percent, most in (("p50", 50, 0.3), ("p99", 99, 1.5)):
        seen = {name: [_percentile(times, percent) for times in rounds] for name, rounds in taken.items()}
        figures += [
            Figure(name=f"{name}, {which}", value=statistics.median(each), unit="ms") for name, each in seen.items()
        ]
        limits = {"bare Envoy": None, "gateway": most}
        for name, limit in limits.items():
            more = statistics.median(ours - alone for ours, alone in zip(seen[name], seen["direct"], strict=True))
            figures.append(Figure(name=f"{name} adds, {which}", value=more, unit="ms", at_most=limit))
    return figures


def _percentile(times: list[float], percent: int) -> float:
    return statistics.quantiles(times, n=100)[percent - 1]
