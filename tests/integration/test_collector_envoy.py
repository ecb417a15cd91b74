"""A build that hangs, behind a real Envoy and read by the collector: whose answer callers get, whose failure it is."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sluicegate.registry.plan.fields import MetricSpec, Source
from sluicegate.registry.words.metric import Arm
from sluicegate.registry.words.slices import LONGEST, NONE
from sluicegate.registry.words.tally import UnitSums
from sluicegate.services.telemetry.reading.queries import Queries
from sluicegate.services.telemetry.store.store import Store
from sluicegate.services.telemetry.tailing.collector import Collector
from sluicegate.services.telemetry.tally.spec import RolloutSpec
from sluicegate.services.traffic.routes import routes
from tests.doubles.plane import answer
from tests.integration.traffic_rig import Gateway, Upstream, build, gateway, standing, upstreams

pytestmark = pytest.mark.slow
Header = tuple[str, str | bytes]
UNITS = [f"unit-{number}" for number in range(40)]
TIMEOUT = 2.0
"""Seconds that a build has for an answer; long for the one that does not hang."""
SPEC = RolloutSpec(
    rollout="r-7",
    metrics={
        "errors": MetricSpec(source=Source.STATUS),
        "waited": MetricSpec(source=Source.LATENCY, quantile=0.99),
    },
    thresholds={"waited": TIMEOUT / 2},  # Envoy may give up a little before its time
    by_unit=True,
)


class Site:
    """A canary at one half behind a gateway, and what is counted of it."""

    def __init__(self, envoy: Gateway, services: dict[str, Upstream], store: Store) -> None:
        self.envoy = envoy
        self.services = services
        clock = lambda: datetime.now(UTC)  # noqa: E731
        self.queries = Queries(store, clock)
        self.collector = Collector(store, envoy.plane.logs / "live.jsonl", lambda _: SPEC, clock)
        endpoints = {service.endpoint.build: (service.endpoint,) for service in services.values()}
        table = routes([standing(weight=5_000, timeout=f"{TIMEOUT:g}s")], endpoints)
        envoy.plane.apply(table, endpoints)
        told = Counter(answer(table.models[0], {"x-user-id": unit}, lambda _: 0).arm for unit in UNITS)
        self.assigned = dict(told)
        """How many units each arm has, worked out without Envoy."""

    def ask_all(self) -> list[tuple[int, str | None]]:
        """Status and answering build of one request of each unit, all of which are counted on return."""
        with self.envoy.client() as client, ThreadPoolExecutor(len(UNITS)) as pool:
            post = lambda unit: client.post("/delays/predict", json={}, headers={"x-user-id": unit})  # noqa: E731
            answers = list(pool.map(post, UNITS))
        self.envoy.lines(len(UNITS))
        while self.collector.collect():
            pass
        return [(each.status_code, each.headers.get("x-sluice-build")) for each in answers]

    def counted(self, metric: str, arm: Arm) -> tuple[int, float, UnitSums]:
        """Values, their sum, and the same by unit."""
        rows = [row for row in self.queries.tallies("r-7")[1] if (row.metric, row.arm) == (metric, arm)]
        units = sum((row.units for row in rows if row.units is not None), UnitSums())
        return sum(row.tally.n for row in rows), sum(row.tally.total for row in rows), units


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    store = Store(f"sqlite:///{tmp_path}/telemetry.db", durable=False)
    with upstreams(build("1"), build("2")) as services, gateway(tmp_path / "envoy") as envoy:
        yield Site(envoy, services, store)
    store.close()


def every_unit_failed(units: int) -> UnitSums:
    return sum((UnitSums.from_unit(1, 1) for _ in range(units)), UnitSums())


def none_failed(units: int) -> UnitSums:
    return sum((UnitSums.from_unit(0, 1) for _ in range(units)), UnitSums())


def test_a_candidate_that_hangs_is_answered_for_in_time_and_blamed_for_each_request(site: Site) -> None:
    site.services["2"].mode("hang")
    assert site.ask_all() == [(200, "1")] * len(UNITS)
    ours, theirs = site.assigned[Arm.STABLE], site.assigned[Arm.CANDIDATE]
    assert theirs > 10
    seen = site.queries.requests_by_arm("r-7")
    assert (seen.candidate.requests, seen.candidate.failed, seen.candidate.fallbacks) == (theirs, theirs, theirs)
    assert (seen.stable.requests, seen.stable.failed, seen.stable.fallbacks) == (ours, 0, 0)
    assert site.counted("errors", Arm.CANDIDATE) == (theirs, theirs, every_unit_failed(theirs))
    assert site.counted("errors", Arm.STABLE) == (ours, 0, none_failed(ours))
    timed_out = sum(line.attempts > 1 for line in site.envoy.lines(len(UNITS)))
    assert timed_out > 0
    assert site.counted("waited", Arm.CANDIDATE)[1] >= timed_out


def test_a_stable_that_hangs_is_an_error_of_stable_alone(site: Site) -> None:
    site.services["1"].mode("hang")
    ours, theirs = site.assigned[Arm.STABLE], site.assigned[Arm.CANDIDATE]
    answers = site.ask_all()
    assert answers.count((200, "2")) == theirs
    assert all(status >= 500 for status, number in answers if number != "2")
    seen = site.queries.requests_by_arm("r-7")
    assert (seen.stable.requests, seen.stable.failed, seen.candidate.failed) == (ours, ours, 0)
    assert site.counted("errors", Arm.STABLE) == (ours, ours, every_unit_failed(ours))
    assert site.counted("errors", Arm.CANDIDATE) == (theirs, 0, none_failed(theirs))


def test_requests_are_counted_by_the_headers_that_the_plan_names(tmp_path: Path) -> None:
    """As the caller sent them: odd, long, none; of one sent twice the first; nothing that only the gateway may say."""
    odd, long = "a|b=%2C%REQ(x)%", "y" * 500
    sent: list[tuple[str, list[Header]]] = [
        ("CA", [("x-state", "CA")]),
        ("New York", [("x-state", "New York")]),
        (odd, [("x-state", odd)]),
        (long[:LONGEST], [("x-state", long)]),
        ("TX", [("x-state", "TX"), ("x-state", "NY")]),
        (NONE, [("x-state", "")]),
        ("\xffCA", [("x-state", b"\xffCA")]),
        ("é", [("x-state", "é".encode())]),
        (NONE, [("x-sluice-segment-0", "forged")]),
        (NONE, []),
    ]
    spec = dataclasses.replace(SPEC, by_unit=False, sliced={"errors": ((0, "x-state"), (1, "x-plan"))})
    store = Store(f"sqlite:///{tmp_path}/telemetry.db", durable=False)
    with upstreams(build("1"), build("2")) as services, gateway(tmp_path / "envoy") as envoy:
        endpoints = {service.endpoint.build: (service.endpoint,) for service in services.values()}
        sliced = dataclasses.replace(standing(weight=5_000), sliced_by=("x-state", "x-plan"))
        envoy.plane.apply(routes([sliced], endpoints), endpoints)
        clock = lambda: datetime.now(UTC)  # noqa: E731
        collector = Collector(store, envoy.plane.logs / "live.jsonl", lambda _: spec, clock)
        with envoy.client() as client:
            for number, (_, headers) in enumerate(sent):
                unit: list[Header] = [("x-user-id", f"u-{number}"), ("x-plan", "pro")]
                assert client.post("/delays/predict", json={}, headers=[*unit, *headers]).status_code == 200
        envoy.lines(len(sent))
        while collector.collect():
            pass
        counted: Counter[str] = Counter()
        for row in Queries(store, clock).tallies("r-7")[1]:
            counted[row.metric] += row.tally.n
        store.close()
    states = Counter(f"errors|x-state={value}" for value, _ in sent)
    assert {name: n for name, n in counted.items() if "x-state" in name} == states
    assert counted["errors|x-plan=pro"] == counted["errors"] == len(sent)
