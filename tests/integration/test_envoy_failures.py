"""A candidate that fails costs no caller an answer, and is told in the log; stable's failures stay stable's."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from sluicegate.registry.words.access_log import End, LogLine
from sluicegate.registry.words.metric import Arm
from sluicegate.services.traffic.envoy.limits import Limits
from sluicegate.services.traffic.routes import routes
from tests import plain_http
from tests.integration.traffic_rig import Gateway, Upstream, build, eventually, gateway, standing, upstreams

pytestmark = pytest.mark.slow
UNITS = [f"unit-{number}" for number in range(60)]
Services = dict[str, Upstream]


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with upstreams(build("1"), build("2")) as running:
        yield running


@pytest.fixture
def envoy(tmp_path: Path, services: Services) -> Iterator[Gateway]:
    with gateway(tmp_path) as running:
        yield running
    for service in services.values():
        if service.process is None or service.process.poll() is not None:
            service.start()
            service.wait()
        service.mode("ok")


def put(envoy: Gateway, services: Services, **state: object) -> None:
    endpoints = {service.endpoint.build: (service.endpoint,) for service in services.values()}
    envoy.plane.apply(routes([standing(**{"weight": 5000, **state})], endpoints), endpoints)


def ask(envoy: Gateway, units: list[str] = UNITS, body: bytes = b"{}", callers: int = 12) -> list[httpx.Response]:
    """Twelve callers at a time: more than Envoy's default of three concurrent retries."""
    with envoy.client() as client, ThreadPoolExecutor(callers) as pool:
        post = lambda unit: client.post("/delays/predict", content=body, headers={"x-user-id": unit})  # noqa: E731
        return list(pool.map(post, units))


def arms(lines: list[LogLine]) -> dict[str, list[LogLine]]:
    return {arm: [line for line in lines if line.assigned and line.assigned.arm is arm] for arm in Arm}


def check_stable_answered(envoy: Gateway, answers: list[httpx.Response]) -> None:
    """Only 200s, all by stable; the log blames the candidate for exactly its own."""
    assert [answer.status_code for answer in answers] == [200] * len(answers)
    assert {answer.headers["x-sluice-build"] for answer in answers} == {"1"}
    by_arm = arms(envoy.lines(len(answers)))
    assert len(by_arm[Arm.CANDIDATE]) > 10
    assert sum(map(len, by_arm.values())) == len(answers)
    assert all(line.end.is_failure and line.served == "1" for line in by_arm[Arm.CANDIDATE])
    assert not any(line.end.is_failure for line in by_arm[Arm.STABLE])


@pytest.mark.parametrize("answer", ["fail", "reset", "hang"])
def test_stable_answers_for_a_candidate_that(envoy: Gateway, services: Services, answer: str) -> None:
    put(envoy, services, timeout="3s" if answer == "hang" else "30s")
    services["2"].mode(answer)
    check_stable_answered(envoy, ask(envoy))


def test_stable_answers_for_a_dead_candidate_also_large_requests(envoy: Gateway, services: Services) -> None:
    put(envoy, services)
    services["2"].kill()
    check_stable_answered(envoy, ask(envoy, body=b"x" * 3_000_000, callers=3))


def test_a_hung_candidate_is_passed_over_after_a_few_tries(envoy: Gateway, services: Services) -> None:
    put(envoy, services, timeout="1s")
    services["2"].mode("hang")
    ask(envoy)
    ask(envoy)
    tries = [line.attempts for line in arms(envoy.lines(2 * len(UNITS)))[Arm.CANDIDATE]]
    assert tries.count(2) < 30
    assert tries.count(1) > 20


def ask_deadly(envoy: Gateway, deadly: Path) -> list[httpx.Response]:
    """Twelve callers at a time; the first one's request ends the worker that gets it."""
    deadly.touch()
    with envoy.client() as client, ThreadPoolExecutor(12) as pool:
        bodies = [str(deadly).encode() if number == 10 else b"{}" for number in range(len(UNITS))]
        post = lambda unit, body: client.post("/delays/predict", content=body, headers={"x-user-id": unit})  # noqa: E731
        return list(pool.map(post, UNITS, bodies))


def test_a_worker_that_dies_costs_its_callers_one_try_on_another(
    envoy: Gateway, services: Services, tmp_path: Path
) -> None:
    put(envoy, services, weight=0, timeout="20s")
    with services["1"].another_worker():
        answers = ask_deadly(envoy, tmp_path / "deadly")
        lines = envoy.lines(len(answers))
    assert [answer.status_code for answer in answers] == [200] * len(answers)
    assert len(lines) == len(answers), "each request is told once"
    tried_again = [line for line in lines if line.attempts in (2, 3)]
    assert 1 <= len(tried_again) <= 12, "those that the worker had in hand"
    assert all(line.end is End.RETRIED and line.end.is_failure and line.served == "1" for line in tried_again)
    assert not any(line.end.is_failure for line in lines if line.attempts == 1)


def test_a_candidate_whose_only_worker_dies_costs_its_callers_one_try_on_stable(
    envoy: Gateway, services: Services, tmp_path: Path
) -> None:
    put(envoy, services, weight=9999, timeout="20s")
    answers = ask_deadly(envoy, tmp_path / "deadly")
    assert [answer.status_code for answer in answers] == [200] * len(answers)
    candidates = arms(envoy.lines(len(answers)))[Arm.CANDIDATE]
    assert {(line.served, line.end.is_failure) for line in candidates} == {("2", False), ("1", True)}
    assert max(line.attempts for line in candidates) == 2


def test_without_retry_nothing_is_sent_twice_that_was_received(envoy: Gateway, services: Services) -> None:
    put(envoy, services, weight=0, retry=False)
    services["1"].mode("reset")
    ask(envoy, UNITS[:1])
    (line,) = envoy.lines(1)
    assert (line.attempts, line.end) == (1, End.RESET)


def test_a_slow_stable_is_asked_once(envoy: Gateway, services: Services) -> None:
    put(envoy, services, weight=0, timeout="300ms")
    services["1"].mode("hang")
    answers = ask(envoy, UNITS[:6])
    assert {answer.status_code for answer in answers} == {504}
    assert {(line.attempts, line.end) for line in envoy.lines(6)} == {(1, End.TIMEOUT)}


def test_without_retry_the_candidate_s_failures_reach_the_callers(envoy: Gateway, services: Services) -> None:
    put(envoy, services, retry=False)
    services["2"].mode("fail")
    answers = ask(envoy)
    by_arm = arms(envoy.lines(len(answers)))
    assert {line.status for line in by_arm[Arm.CANDIDATE]} == {503}
    assert {line.status for line in by_arm[Arm.STABLE]} == {200}
    assert {line.attempts for line in by_arm[Arm.CANDIDATE]} == {1}


def test_stable_s_failures_are_neither_hidden_nor_the_candidate_s(envoy: Gateway, services: Services) -> None:
    put(envoy, services)
    services["1"].mode("fail")
    by_arm = arms(envoy.lines(len(ask(envoy))))
    assert {(line.status, line.served, line.attempts) for line in by_arm[Arm.STABLE]} == {(503, "1", 1)}
    assert {(line.status, line.served) for line in by_arm[Arm.CANDIDATE]} == {(200, "2")}


def test_both_dead_is_a_fast_json_answer_with_the_reason(envoy: Gateway, services: Services) -> None:
    put(envoy, services)
    services["1"].kill()
    services["2"].kill()
    answers = ask(envoy)
    assert {answer.status_code for answer in answers} == {503}
    assert {answer.headers["content-type"] for answer in answers} == {"application/json"}
    assert all(answer.json()["request_id"] == answer.headers["x-request-id"] for answer in answers)
    assert all(line.end.is_failure and line.served is None for line in envoy.lines(len(answers)))


def test_a_stable_without_a_service_is_a_503_that_says_so(envoy: Gateway) -> None:
    envoy.plane.apply(routes([standing()], {}), {})
    (answer,) = ask(envoy, UNITS[:1])
    assert (answer.status_code, answer.json()["reason"]) == (503, "no_healthy_upstream")
    (line,) = envoy.lines(1)
    assert line.assigned is not None
    assert (line.assigned.build, line.end.is_failure, line.host) == ("1", True, None)


def test_a_caller_that_leaves_is_nobody_s_failure_and_keeps_its_arm(envoy: Gateway, services: Services) -> None:
    put(envoy, services)
    for service in services.values():
        service.mode("hang")
    with envoy.client() as client:
        for unit in UNITS[:12]:
            with pytest.raises(httpx.ReadTimeout):
                client.post("/delays/predict", json={}, headers={"x-user-id": unit}, timeout=0.05)
    lines = envoy.lines(12)
    assert all(line.end is End.LEFT and line.served is None for line in lines)
    assert {line.assigned.arm for line in lines if line.assigned} == set(Arm)


def test_a_cluster_stays_until_its_last_request_has_ended(tmp_path: Path, services: Services) -> None:
    now = [0.0]
    with gateway(tmp_path, clock=lambda: now[0], limits=Limits(receive_seconds=5.0)) as envoy:
        put(envoy, services, weight=10_000, timeout="20s")
        services["2"].mode("hold")
        with ThreadPoolExecutor(1) as pool:
            under_way = pool.submit(ask, envoy, UNITS[:1])
            assert eventually(lambda: envoy.plane.in_flight(build("2")) == 1)
            for _ in range(3):
                put(envoy, services, weight=0, epoch=2)
                assert "delays.v2" in envoy.plane.places.clusters.read_text()
                now[0] += 10
            services["2"].mode("ok")
            (answer,) = under_way.result()
        assert (answer.status_code, answer.headers["x-sluice-build"]) == (200, "2")
        assert eventually(lambda: envoy.plane.in_flight(build("2")) == 0)
        put(envoy, services, weight=0, epoch=2)
        assert "delays.v2" not in envoy.plane.places.clusters.read_text()


@pytest.mark.parametrize("weight", [10_000, 0], ids=["candidate", "stable"])
def test_a_build_is_in_use_while_a_caller_may_still_be_sending_to_it(
    envoy: Gateway, services: Services, weight: int
) -> None:
    """Its request was routed when its headers came, under the routes of then: before an abort or a promotion."""
    leaving = "2" if weight else "1"
    put(envoy, services, weight=weight)
    head = b"POST /delays/predict HTTP/1.1\r\nhost: g\r\nx-user-id: u\r\ncontent-length: 2\r\n\r\n"
    with socket.create_connection((envoy.plane.places.host, envoy.plane.places.port), timeout=20) as link:
        link.sendall(head)
        assert eventually(lambda: envoy.plane.requests_under_way() == 1)
        for _ in range(3):
            put(envoy, services, weight=0, epoch=2, stable="1" if weight else "2")
            assert envoy.plane.in_flight(build(leaving)) == 1
            assert f"delays.v{leaving}" in envoy.plane.places.clusters.read_text()
        link.sendall(b"{}")
        answer = link.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200")
        assert f"x-sluice-build: {leaving}\r\n".encode() in answer
        assert eventually(lambda: envoy.plane.in_flight(build(leaving)) == 0)
    put(envoy, services, weight=0, epoch=2, stable="1" if weight else "2")
    assert f"delays.v{leaving}" not in envoy.plane.places.clusters.read_text()


def test_other_callers_keep_a_build_no_longer_than_an_upload_may_take(tmp_path: Path, services: Services) -> None:
    now = [0.0]
    with gateway(tmp_path, clock=lambda: now[0], limits=Limits(receive_seconds=5.0)) as envoy:
        put(envoy, services, weight=10_000, timeout="20s")
        put(envoy, services, weight=0, epoch=2, timeout="20s")
        services["1"].mode("hold")
        with ThreadPoolExecutor(1) as pool:
            under_way = pool.submit(ask, envoy, UNITS[:1])
            assert eventually(lambda: envoy.plane.in_flight(build("1")) == 1)
            assert envoy.plane.in_flight(build("2")) == 1
            now[0] += 6
            assert envoy.plane.in_flight(build("2")) == 0
            services["1"].mode("ok")
            under_way.result()


def test_drain_waits_for_requests_and_turns_new_ones_away(envoy: Gateway, services: Services) -> None:
    put(envoy, services, weight=0, timeout="20s")
    services["1"].mode("hold")
    with ThreadPoolExecutor(2) as pool:
        under_way = pool.submit(ask, envoy, UNITS[:1])
        assert eventually(lambda: envoy.plane.in_flight(build("1")) == 1)
        draining = pool.submit(envoy.plane.drain, 20.0)
        assert eventually(lambda: plain_http.get(f"{envoy.plane.url}/-/ready").status_code == 503)
        assert not draining.done()
        services["1"].mode("ok")
        assert draining.result() is True
        assert under_way.result()[0].status_code == 200
