"""Several replicas of a build: one that dies, hangs, errs or moves costs no caller an answer, and is told exactly."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.words.access_log import End, LogLine
from sluicegate.registry.words.build import Endpoints
from sluicegate.registry.words.metric import Arm
from sluicegate.services.traffic.routes import routes
from tests import plain_http
from tests.integration.traffic_load import Record, load
from tests.integration.traffic_rig import Gateway, Upstream, build, eventually, gateway, standing

pytestmark = [pytest.mark.slow, pytest.mark.chaos]
UNITS = [f"unit-{number}" for number in range(60)]


class Crew:
    """Three replicas of each of two builds."""

    def __init__(self) -> None:
        self.stable = [Upstream(build("1")) for _ in range(3)]
        self.candidate = [Upstream(build("2")) for _ in range(3)]

    def __iter__(self) -> Iterator[Upstream]:
        return iter([*self.stable, *self.candidate])

    def ready(self) -> None:
        for each in self:
            if each.process is None or each.process.poll() is not None:
                each.start()
        for each in self:
            each.wait()


@pytest.fixture(scope="module")
def running() -> Iterator[Crew]:
    crew = Crew()
    try:
        crew.ready()
        yield crew
    finally:
        for each in crew:
            each.kill()


@pytest.fixture
def crew(running: Crew) -> Crew:
    running.ready()
    return running


@pytest.fixture
def envoy(tmp_path: Path) -> Iterator[Gateway]:
    with gateway(tmp_path) as started:
        yield started


def where(*services: Upstream) -> Endpoints:
    found: Endpoints = {}
    for each in services:
        found = {**found, each.endpoint.build: (*found.get(each.endpoint.build, ()), each.endpoint)}
    return found


def put(envoy: Gateway, *services: Upstream, weight: int = 0, timeout: str = "30s", replicas: int = 3) -> None:
    serve = Serve(replicas=replicas, timeout=timeout)
    state = dataclasses.replace(standing(weight=weight), serve=serve, stable_serve=serve)
    envoy.plane.apply(routes([state], where(*services)), where(*services))


def seen(service: Upstream) -> int:
    """How many requests for predictions a replica has met."""
    return int(plain_http.post(f"http://{service.endpoint.address}/-/mode", json={}).json()["predict"])


def more(record: Record, count: int) -> bool:
    """Whether so many more requests were answered, in good time."""
    before = record.total
    return bool(eventually(lambda: record.total >= before + count))


@contextlib.contextmanager
def paused(service: Upstream) -> Iterator[None]:
    assert service.process is not None
    os.kill(service.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(service.process.pid, signal.SIGCONT)


def told(envoy: Gateway, record: Record) -> list[LogLine]:
    """What the log says: each request that a caller knows of, once."""
    lines = envoy.lines(record.total)
    assert len(lines) == record.total
    assert len({line.request_id for line in lines}) == record.total
    return lines


def test_a_killed_replica_costs_no_caller_an_answer(envoy: Gateway, crew: Crew) -> None:
    put(envoy, *crew.stable)
    with load(envoy.plane.url, http2=False) as record:
        more(record, 200)
        crew.stable[0].kill()
        more(record, 600)
    lines = told(envoy, record)
    assert record.failed == 0
    assert {line.end.is_failure for line in lines if line.attempts > 1} <= {True}
    assert sum(line.attempts > 1 for line in lines) < 60, "it was passed over after a few"
    assert {line.served for line in lines} == {"1"}


def test_two_of_three_killed_at_once_cost_no_caller_an_answer(envoy: Gateway, crew: Crew) -> None:
    put(envoy, *crew.stable)
    with load(envoy.plane.url, http2=False) as record:
        more(record, 200)
        for each in crew.stable[:2]:
            each.kill()
        more(record, 600)
    told(envoy, record)
    assert record.failed == 0


def test_a_hung_replica_costs_its_callers_time_and_no_answer(envoy: Gateway, crew: Crew) -> None:
    put(envoy, *crew.stable, timeout="2s")
    with load(envoy.plane.url, http2=False) as record:
        more(record, 200)
        with paused(crew.stable[0]):
            more(record, 1_000)
    lines = told(envoy, record)
    assert record.failed == 0
    assert any(line.attempts > 1 for line in lines)
    assert all(line.end.is_failure for line in lines if line.attempts > 1), "stable's failures are stable's"


def test_a_replica_that_errs_is_passed_over_and_its_errors_are_answered_by_another(envoy: Gateway, crew: Crew) -> None:
    put(envoy, *crew.stable)
    before = seen(crew.stable[0])
    with load(envoy.plane.url, http2=False) as record:
        more(record, 200)
        crew.stable[0].mode("fail")
        more(record, 1_000)
        met = seen(crew.stable[0])
        crew.stable[0].mode("ok")
    lines = told(envoy, record)
    assert record.failed == 0
    again = [line for line in lines if line.attempts > 1]
    assert 10 <= len(again) <= met - before
    assert {line.end for line in again} == {End.RETRIED}


def test_where_all_err_callers_get_the_error_and_somebody_is_still_asked(envoy: Gateway, crew: Crew) -> None:
    put(envoy, *crew.stable)
    for each in crew.stable:
        each.mode("fail")
    with envoy.client() as client:
        answers = [client.post("/delays/predict", json={}, headers={"x-user-id": unit}) for unit in UNITS]
    assert {answer.status_code for answer in answers} == {503}
    assert {answer.headers.get("x-sluice-build") for answer in answers} == {"1"}, "the service's own answer"
    assert all(line.end.is_failure for line in envoy.lines(len(answers)))


def test_what_one_replica_of_a_candidate_fails_is_counted_against_it_exactly(envoy: Gateway, crew: Crew) -> None:
    put(envoy, *crew, weight=5_000)
    crew.candidate[0].mode("fail")
    before = seen(crew.candidate[0])
    with load(envoy.plane.url, http2=False) as record:
        more(record, 800)
    met = seen(crew.candidate[0]) - before
    lines = told(envoy, record)
    assert record.failed == 0
    of_candidate = [line for line in lines if line.assigned and line.assigned.arm is Arm.CANDIDATE]
    failed = [line for line in of_candidate if line.end.is_failure]
    assert len(failed) == met >= 10
    assert {line.served for line in failed} == {"1"}, "stable answered for it"
    assert {line.served for line in of_candidate if not line.end.is_failure} == {"2"}
    assert not any(line.end.is_failure for line in lines if line.assigned and line.assigned.arm is Arm.STABLE)


def test_stable_answers_for_a_candidate_all_of_whose_replicas_are_dead(envoy: Gateway, crew: Crew) -> None:
    put(envoy, *crew, weight=5_000)
    for each in crew.candidate:
        each.kill()
    with load(envoy.plane.url, http2=False) as record:
        more(record, 400)
    assert record.failed == 0
    assert set(record.builds) == {"1"}
    lines = told(envoy, record)
    assert all(line.end.is_failure is (line.assigned.arm is Arm.CANDIDATE) for line in lines if line.assigned)


def test_another_replica_of_stable_answers_where_one_is_lost_with_the_candidate(envoy: Gateway, crew: Crew) -> None:
    """As with a node that had all of the candidate and part of stable."""
    stable = crew.stable[:2]
    put(envoy, *stable, *crew.candidate, weight=5_000)
    for each in (stable[0], *crew.candidate):
        each.kill()
    with load(envoy.plane.url, http2=False) as record:
        more(record, 400)
    lines = told(envoy, record)
    assert record.failed == 0
    assert max(line.attempts for line in lines) == 3, "the candidate, the lost replica of stable, the other one"
    assert {line.served for line in lines} == {"1"}


def test_replicas_come_and_go_and_move_and_the_table_stays_as_it_is(envoy: Gateway, crew: Crew) -> None:
    """From one to three, one moves, and back to one, under load: nothing fails, and no route is changed."""
    one, two, three = crew.stable
    moved = Upstream(build("1"))
    put(envoy, one)
    version = envoy.plane.observe()
    changed = envoy.plane.places.routes.stat().st_mtime_ns
    try:
        moved.start()
        moved.wait()
        with load(envoy.plane.url, http2=False) as record:
            for there in ((one, two, three), (one, moved, three), (one, moved), (one,)):
                put(envoy, *there)
                assert envoy.plane.observe() == version
                gone = [each for each in (*crew.stable, moved) if each not in there]
                met = {each: seen(each) for each in (*there, *gone)}
                more(record, 300)
                assert all(seen(each) > met[each] for each in there)
                assert all(seen(each) - met[each] <= 8 for each in gone), "no more than was under way"
    finally:
        moved.kill()
    told(envoy, record)
    assert record.failed == 0
    assert envoy.plane.places.routes.stat().st_mtime_ns == changed


def test_a_replica_that_goes_finishes_what_it_has(envoy: Gateway, crew: Crew) -> None:
    one, two, _ = crew.stable
    put(envoy, two, timeout="20s")
    two.mode("hold")
    with ThreadPoolExecutor(1) as pool, envoy.client() as client:
        under_way = pool.submit(client.post, "/delays/predict", json={}, headers={"x-user-id": "u"})
        assert eventually(lambda: envoy.plane.in_flight(build("1")) == 1)
        put(envoy, one, timeout="20s")
        assert envoy.plane.in_flight(build("1")) == 1
        two.mode("ok")
        assert under_way.result().status_code == 200


def test_it_starts_again_with_the_last_addresses(envoy: Gateway, crew: Crew) -> None:
    put(envoy, *crew.stable)
    put(envoy, *crew.stable[1:])
    envoy.kill()
    envoy.restart()
    before = seen(crew.stable[0])
    with load(envoy.plane.url, http2=False) as record:
        more(record, 100)
    assert record.failed == 0
    assert seen(crew.stable[0]) == before


def test_a_build_none_of_whose_replicas_answers_yet_is_asked_as_soon_as_one_does(envoy: Gateway, crew: Crew) -> None:
    ask = lambda: plain_http.post(f"{envoy.plane.url}/delays/predict", json={})  # noqa: E731
    put(envoy)
    assert (ask().status_code, ask().json()["reason"]) == (503, "no_healthy_upstream")
    put(envoy, crew.stable[0])
    assert ask().status_code == 200
    put(envoy)
    assert ask().status_code == 503


def test_files_of_addresses_go_with_their_clusters(envoy: Gateway, crew: Crew) -> None:
    put(envoy, *crew, weight=5_000)
    files = lambda: {path.name for path in envoy.plane.places.addresses.glob("*.json")}  # noqa: E731
    assert files() == {"delays.v1.json", "delays.v2.json"}
    put(envoy, *crew, weight=0)
    assert eventually(lambda: put(envoy, *crew, weight=0) or files() == {"delays.v1.json"})


def test_one_replica_alone_is_never_passed_over_and_has_no_file_of_its_own(envoy: Gateway, crew: Crew) -> None:
    put(envoy, crew.stable[0], replicas=1)
    assert not list(envoy.plane.places.addresses.iterdir())
    crew.stable[0].mode("fail")
    with envoy.client() as client:
        answers = [client.post("/delays/predict", json={}, headers={"x-user-id": unit}) for unit in UNITS]
    assert {answer.headers.get("x-sluice-build") for answer in answers} == {"1"}
    assert {line.attempts for line in envoy.lines(len(answers))} == {1}
