"""What callers notice of a shadow: none, a good one, a dead, a slow and a hung one; interleaved rounds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from benchmarks.results import Figure
from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.rollout.standing import Shadowing, Standing
from sluicegate.registry.words.build import Endpoint
from sluicegate.services.traffic.envoy.limits import Limits
from sluicegate.services.traffic.routes import routes
from tests.integration.traffic_rig import Gateway, build, free_port, gateway, upstreams

PAUSE = 0.02
"""Seconds between requests: what is measured is waiting, not a machine that is full."""


def measure(folder: Path, rounds: int, requests: int) -> list[Figure]:
    """p50 and p99 of callers by what the shadow does, and their ratio to rounds without a shadow.

    Many short rounds: a machine that is busy for some seconds is busy for every way. Stable takes 5 ms for an answer,
    as a small model does.
    """
    dead = Endpoint(build=build("2"), host="127.0.0.1", port=free_port())
    taken: dict[str, list[float]] = {name: [] for name in _WAYS}
    limits = Limits(shadow_requests=16)
    with upstreams(build("1"), build("2")) as services, gateway(folder / "shadow", limits=limits) as running:
        stable, shadow = services["1"], services["2"]
        stable.mode("slow", seconds=0.005)
        for turn in range(rounds + 1):
            for name, mode in _WAYS.items():
                shadow.mode(**mode)
                _put(running, stable.endpoint, {"none": None, "dead": dead}.get(name, shadow.endpoint))
                times = _ask(running, requests)
                taken[name] += times if turn else []  # the first round warms up
                shadow.mode("ok")
    return _figures(taken)


_WAYS: Mapping[str, dict[str, Any]] = {
    "none": {"answer": "ok"}, "good": {"answer": "ok"}, "failing": {"answer": "fail"},
    "slow": {"answer": "slow", "seconds": 1.0}, "hung": {"answer": "hold"}, "dead": {"answer": "ok"},
}  # fmt: skip


def _put(running: Gateway, stable: Endpoint, copied: Endpoint | None) -> None:
    shadows = (Shadowing(build=build("2"), share=10_000, rollout="r-s", epoch=1),) if copied else ()
    state = Standing(
        model="delays", variation="default", stable=build("1"), serve=Serve(), unit="x-user-id", shadows=shadows
    )
    endpoints = {build("1"): (stable,), **({build("2"): (copied,)} if copied else {})}
    running.plane.apply(routes([state], endpoints), endpoints)


def _ask(running: Gateway, requests: int, callers: int = 4) -> list[float]:
    """Milliseconds that each answer took."""
    with running.client() as client, ThreadPoolExecutor(callers) as pool:

        def one(number: int) -> float:
            time.sleep(PAUSE)
            began = time.perf_counter()
            answer = client.post("/delays/predict", content=b"{}", headers={"x-user-id": f"u{number}"})
            taken = (time.perf_counter() - began) * 1e3
            assert answer.status_code == httpx.codes.OK
            return taken

        return list(pool.map(one, range(requests)))


def _figures(taken: Mapping[str, list[float]]) -> list[Figure]:
    figures = []
    for name, times in taken.items():
        figures.append(Figure(name=f"shadow {name}: p50 of callers", value=statistics.median(times), unit="ms"))
        figures.append(Figure(name=f"shadow {name}: p99 of callers", value=_p99(times), unit="ms"))
    for name, times in taken.items():
        if name != "none":
            p50 = statistics.median(times) / statistics.median(taken["none"])
            figures.append(Figure(name=f"shadow {name}: p50 / without one", value=p50))
            p99 = _p99(times) / _p99(taken["none"])
            figures.append(Figure(name=f"shadow {name}: p99 / without one", value=p99, at_most=1.05))
    return figures


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]
