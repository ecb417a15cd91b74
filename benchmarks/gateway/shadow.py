"""What callers notice of a shadow: none, a good one, a dead, a slow and a hung one; interleaved rounds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from benchmarks.results import Figure
from registry.build import BuildRef, Endpoint
from registry.plan import Serve
from registry.standing import Shadowing, Standing
from services.traffic.envoy_limits import Limits
from services.traffic.routes import routes
from tests.integration.traffic_rig import Gateway, Upstream, build, gateway

PAUSE = 0.02
"""Seconds between requests: what is measured is waiting, not a machine that is full."""


def measure(folder: Path, stable: Endpoint, rounds: int, requests: int) -> list[Figure]:
    """p50 and p99 of callers by what the shadow does, and their ratio to a round without a shadow."""
    shadow = Upstream(build("2"))
    shadow.start()
    taken: dict[str, list[list[float]]] = {name: [] for name in _WAYS}
    try:
        shadow.wait()
        with gateway(folder / "shadow", limits=Limits(shadow_requests=16)) as running:
            for turn in range(rounds + 1):
                for name, behave in _WAYS.items():
                    _put(
                        running,
                        {build("1"): stable, build("2"): shadow.endpoint},
                        share=0 if name == "none" else 10_000,
                    )
                    behave(shadow)
                    times = _ask(running, requests)
                    if turn:
                        taken[name].append(times)
                    _recover(shadow)
    finally:
        shadow.kill()
    return _figures(taken)


def _dead(shadow: Upstream) -> None:
    shadow.kill()


def _mode(answer: str, **more: float) -> Callable[[Upstream], None]:
    def behave(shadow: Upstream) -> None:
        shadow.mode(answer, **more)

    return behave


_WAYS: Mapping[str, Callable[[Upstream], None]] = {
    "none": _mode("ok"), "good": _mode("ok"), "failing": _mode("fail"), "slow": _mode("slow", seconds=1.0),
    "hung": _mode("hold"), "dead": _dead,
}  # fmt: skip


def _recover(shadow: Upstream) -> None:
    if shadow.process is None:
        shadow.start()
        shadow.wait()
    shadow.mode("ok")


def _put(running: Gateway, endpoints: Mapping[BuildRef, Endpoint], share: int) -> None:
    shadows = (Shadowing(build=build("2"), share=share, rollout="r-s", epoch=1),) if share else ()
    state = Standing(
        model="delays", variation="default", stable=build("1"), serve=Serve(), unit="x-user-id", shadows=shadows
    )
    running.plane.apply(routes([state], endpoints))


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


def _figures(taken: Mapping[str, list[list[float]]]) -> list[Figure]:
    found = []
    for name, rounds in taken.items():
        every = [value for times in rounds for value in times]
        found.append(Figure(name=f"shadow {name}: p50 of callers", value=statistics.median(every), unit="ms"))
        found.append(Figure(name=f"shadow {name}: p99 of callers", value=_p99(every), unit="ms"))
    for name, rounds in taken.items():
        if name != "none":
            ratios = [_p99(ours) / _p99(none) for ours, none in zip(rounds, taken["none"], strict=True)]
            value = statistics.median(ratios)
            found.append(Figure(name=f"shadow {name}: p99 / without one", value=value, at_most=1.05))
    return found


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]
