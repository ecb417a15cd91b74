"""Copies for a shadow: logged and joined by request id, and harmless whatever the shadow does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median

import httpx
import pytest

from sluicegate.registry.rollout.standing import Shadowing
from sluicegate.registry.words.metric import Arm
from sluicegate.services.traffic.envoy.limits import Limits
from sluicegate.services.traffic.routes import routes
from tests import plain_http
from tests.integration.traffic_rig import Gateway, Upstream, build, eventually, gateway, standing, upstreams

pytestmark = pytest.mark.slow
UNITS = [f"unit-{number}" for number in range(200)]
Services = dict[str, Upstream]
LIMITS = Limits(shadow_requests=8)


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with upstreams(build("1"), build("2"), build("3")) as running:
        yield running


@pytest.fixture
def envoy(tmp_path: Path, services: Services) -> Iterator[Gateway]:
    with gateway(tmp_path, limits=LIMITS) as running:
        yield running
    for service in services.values():
        if service.process is None:
            service.start()
            service.wait()
        service.mode("ok")


def put(envoy: Gateway, services: Services, weight: int = 10_000, timeout: str = "5s") -> None:
    endpoints = {service.endpoint.build: (service.endpoint,) for service in services.values()}
    envoy.plane.apply(routes([standing(weight=weight, is_shadow=True, timeout=timeout)], endpoints), endpoints)


def ask(envoy: Gateway, units: list[str] = UNITS, callers: int = 4) -> list[httpx.Response]:
    with envoy.client() as client, ThreadPoolExecutor(callers) as pool:
        post = lambda unit: client.post("/delays/predict", json={"u": unit}, headers={"x-user-id": unit})  # noqa: E731
        return list(pool.map(post, units))


def sent(envoy: Gateway) -> int:
    """Copies that Envoy says it sent."""
    return sum(int(n) for n in envoy.plane._admin.stats(r"~mirror\.upstream_rq_total$").values())


def check_callers_noticed_nothing(answers: list[httpx.Response]) -> None:
    assert {(answer.status_code, answer.json().get("build")) for answer in answers} == {(200, "1")}
    assert not any("x-sluice-shadow" in {name.lower() for name in answer.json()["headers"]} for answer in answers)


def test_both_answers_are_logged_and_share_their_request_id(envoy: Gateway, services: Services) -> None:
    put(envoy, services)
    answers = ask(envoy, callers=1)
    check_callers_noticed_nothing(answers)
    live, copies = {line.request_id: line for line in envoy.lines(len(UNITS))}, envoy.shadow_lines(sent(envoy))
    assert len(copies) == sent(envoy) == len(live) - envoy.plane.dropped_copies(build("2")) > 100
    assert [live[line.request_id].unit for line in copies] == [line.unit for line in copies]
    marks = [line.assigned for line in copies if line.assigned]
    assert {(mark.arm, mark.build, mark.rollout, mark.weight) for mark in marks} == {
        (Arm.CANDIDATE, "2", "r-7", 10_000)
    }
    assert {(line.served, line.status, line.prediction) for line in copies} == {("2", 200, '{"p": [0.25]}')}
    assert {line.model for line in copies} == {"delays"}
    assert len({line.request_id for line in copies}) == len(copies)
    assert all(line.is_shadow for line in copies)
    assert {line.assigned.arm for line in live.values() if line.assigned} == {Arm.STABLE}


def test_a_copy_is_marked_for_the_service(envoy: Gateway, services: Services) -> None:
    put(envoy, services)
    ask(envoy, UNITS[:1])
    envoy.shadow_lines(1)
    got = plain_http.get(f"http://{services['2'].endpoint.address}/-/last").json()
    assert (got["x-sluice-shadow"], got["x-sluice-unit"]) == ("1", "unit-0")
    assert "x-sluice-cluster" not in got


def test_only_the_asked_share_is_copied(envoy: Gateway, services: Services) -> None:
    put(envoy, services, weight=2500)
    for _ in range(3):
        check_callers_noticed_nothing(ask(envoy, callers=8))
    envoy.lines(600)
    copied = sent(envoy) + envoy.plane.dropped_copies(build("2"))
    assert abs(copied - 150) < 4 * (600 * 0.25 * 0.75) ** 0.5


@pytest.mark.parametrize("answer", ["fail", "reset", "hang"])
def test_a_shadow_that_fails_is_told_in_its_log_only(envoy: Gateway, services: Services, answer: str) -> None:
    put(envoy, services, timeout="300ms")
    services["2"].mode(answer)
    check_callers_noticed_nothing(ask(envoy, UNITS[:6]))
    assert all(line.end.is_failure for line in envoy.shadow_lines(6))
    assert not any(line.end.is_failure for line in envoy.lines(6))


def test_a_dead_shadow_is_told_in_its_log_only(envoy: Gateway, services: Services) -> None:
    put(envoy, services)
    services["2"].kill()
    check_callers_noticed_nothing(ask(envoy))
    assert all(line.end.is_failure and line.served is None for line in envoy.shadow_lines(10))
    assert not any(line.end.is_failure for line in envoy.lines(len(UNITS)))


def test_a_hung_shadow_holds_no_more_than_its_bound(envoy: Gateway, services: Services) -> None:
    put(envoy, services)
    services["2"].mode("hold")
    check_callers_noticed_nothing(ask(envoy, callers=8))
    assert (envoy.plane.in_flight(build("2")) or 0) <= 3 * LIMITS.shadow_requests
    assert envoy.plane.dropped_copies(build("2")) >= len(UNITS) - 2 * LIMITS.shadow_requests
    services["2"].mode("ok")
    assert eventually(lambda: envoy.plane.in_flight(build("2")) == 0)


def test_a_hung_shadow_takes_no_copies_from_another(envoy: Gateway, services: Services) -> None:
    """Each shadow has bounds of its own."""
    endpoints = {service.endpoint.build: (service.endpoint,) for service in services.values()}
    shadows = tuple(
        Shadowing(build=build(version), share=10_000, rollout=f"r-{version}", epoch=1) for version in ("2", "3")
    )
    envoy.plane.apply(routes([replace(standing(timeout="30s"), shadows=shadows)], endpoints), endpoints)
    services["2"].mode("hold")
    check_callers_noticed_nothing(ask(envoy, callers=1))
    assert envoy.plane.dropped_copies(build("2")) >= len(UNITS) - 2 * LIMITS.shadow_requests
    copied = len(UNITS) - envoy.plane.dropped_copies(build("3"))
    assert copied > 100
    lines = envoy.shadow_lines(copied)
    assert {(line.assigned.rollout, line.served, line.status) for line in lines if line.assigned} == {("r-3", "3", 200)}
    services["2"].mode("ok")
    assert eventually(lambda: envoy.plane.in_flight(build("2")) == 0)


def test_callers_do_not_wait_for_a_slow_shadow(envoy: Gateway, services: Services) -> None:
    """Paired: each request with a shadow that sleeps is next to one without a shadow."""
    services["2"].mode("slow", seconds=1.0)
    slow, none = [], []
    for _ in range(4):
        for taken, weight in ((slow, 10_000), (none, 0)):
            put(envoy, services, weight=weight)
            for unit in UNITS[:5]:
                start = time.perf_counter()
                ask(envoy, [unit], callers=1)
                taken.append(time.perf_counter() - start)
    assert median(slow) < median(none) + 0.5


def test_the_segments_of_a_request_are_told_with_its_copy(envoy: Gateway, services: Services) -> None:
    put(envoy, services)
    states = ("New York", "a;b,c%2C", "x%REQ(:path)%y")
    with envoy.client() as client:
        for state in (*states, None):
            headers = {"x-user-id": "u"} | ({"x-state": state} if state else {})
            client.post("/delays/predict", json={}, headers=headers)
    told = {line.segments for line in envoy.shadow_lines(4)}
    assert told == {(state, None, None, None) for state in (*states, None)}
