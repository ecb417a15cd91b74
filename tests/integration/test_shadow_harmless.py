"""Shadows of every bad kind under load: callers notice nothing, and every copy is accounted for, to the last one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sluicegate.registry.plan.fields import MetricSpec, Source
from sluicegate.services.telemetry.pairs.collector import ShadowCollector
from sluicegate.services.telemetry.pairs.dropped_copies import note_drops
from sluicegate.services.telemetry.pairs.queries import ShadowQueries
from sluicegate.services.telemetry.pairs.spec import ShadowSpec
from sluicegate.services.telemetry.reading.queries import Queries
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.telemetry.store.store import Store
from sluicegate.services.telemetry.tailing.collector import Collector
from sluicegate.services.telemetry.tally.spec import RolloutSpec
from sluicegate.services.traffic.envoy.limits import Limits
from sluicegate.services.traffic.routes import routes
from tests.integration.traffic_rig import Gateway, Upstream, build, eventually, gateway, standing, upstreams

pytestmark = [pytest.mark.slow, pytest.mark.chaos]
REQUESTS = 400
SPEC = ShadowSpec(
    metrics=RolloutSpec(rollout="r-7", metrics={"flips": MetricSpec(source=Source.DISAGREEMENT)}), stable="1"
)
Services = dict[str, Upstream]


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with upstreams(build("1"), build("2")) as running:
        yield running


@pytest.fixture
def envoy(tmp_path: Path, services: Services) -> Iterator[Gateway]:
    with gateway(tmp_path, limits=Limits(shadow_requests=8)) as running:
        endpoints = {service.endpoint.build: (service.endpoint,) for service in services.values()}
        running.plane.apply(routes([standing(weight=10_000, is_shadow=True, timeout="400ms")], endpoints), endpoints)
        yield running
    services["2"].kill()
    services["2"].start()
    services["2"].wait()


def load(envoy: Gateway) -> Counter[tuple[int, str]]:
    """What callers got: status and build."""
    with envoy.client() as client, ThreadPoolExecutor(16) as pool:

        def post(number: int) -> tuple[int, str]:
            answer = client.post("/delays/predict", json={"n": number}, headers={"x-user-id": str(number)})
            return answer.status_code, answer.headers.get("x-sluice-build", "")

        return Counter(pool.map(post, range(REQUESTS)))


class Told:
    """What telemetry makes of the real logs."""

    def __init__(self, envoy: Gateway, folder: Path) -> None:
        clock = lambda: datetime.now(UTC)  # noqa: E731
        self.store = Store(f"sqlite:///{folder / 'telemetry.db'}", durable=False)
        self.queries, self.shadows = Queries(self.store, clock), ShadowQueries(self.store)
        self._live = Collector(self.store, envoy.plane.logs / "live.jsonl", lambda _: None, clock)
        self._shadow = ShadowCollector(self.store, envoy.plane.logs / "shadow.jsonl", lambda _: SPEC, clock)
        self._plane = envoy.plane

    def counts(self, subject: str) -> dict[str, int]:
        found = self.shadows.sums("r-7").items()
        return {key: powers.n for (segment, what, key), powers in found if (segment, what) == ("", subject)}

    def is_whole(self) -> bool:
        """Whether every copy has ended, was dropped, or never got through."""
        note_drops(self.store, "r-7", "gateway", self._plane.dropped_copies(build("2")))
        while self._live.collect() or self._shadow.collect():
            pass
        return sum(self.counts("copies").values()) + self.shadows.dropped("r-7") >= REQUESTS


BAD = ("fail", "reset", "hang", "garbage", "crash", "bloat", "eat", "dead")


@pytest.mark.parametrize("kind", BAD)
def test_callers_notice_nothing_and_each_copy_is_counted(
    envoy: Gateway, services: Services, tmp_path: Path, kind: str
) -> None:
    services["1"].mode("ok", prediction='{"c":["p"],"r":[[0.25]]}')
    services["2"].kill() if kind == "dead" else services["2"].mode(kind, prediction='{"c":["p"],"r":[[0.25]]}')
    assert load(envoy) == {(200, "1"): REQUESTS}
    told = Told(envoy, tmp_path)
    eventually(told.is_whole)
    ended, pairs = told.counts("copies"), told.counts("pairs")
    assert sum(ended.values()) + told.shadows.dropped("r-7") == REQUESTS
    assert sum(pairs.values()) + told.shadows.waiting("r-7") == sum(ended.values())
    assert told.queries.counters()[Count.EXPOSURES] == REQUESTS
    assert told.queries.requests_by_arm("r-7").candidate.requests == 0
    if kind in ("fail", "reset", "hang", "garbage", "dead"):
        assert "answered" not in ended
        assert set(pairs) == {"copy failed"}
