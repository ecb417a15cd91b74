"""A real Envoy whose log is renamed, moved, deleted, hung, full or not read: noticed, and over once it is mended."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sluicegate.registry.plan.fields import MetricSpec, Source
from sluicegate.registry.words.sight import Blindness, Listener
from sluicegate.services.telemetry.pairs.collector import ShadowCollector
from sluicegate.services.telemetry.reading.queries import Queries
from sluicegate.services.telemetry.reading.watch import Counters, Watch
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.telemetry.store.store import Store
from sluicegate.services.telemetry.tailing.backlog import read_of
from sluicegate.services.telemetry.tailing.collector import Collector
from sluicegate.services.telemetry.tailing.log_collector import LogCollector
from sluicegate.services.telemetry.tally.spec import RolloutSpec
from sluicegate.services.traffic.routes import routes
from tests.integration.traffic_rig import Gateway, build, gateway, standing, upstreams

pytestmark = [pytest.mark.slow, pytest.mark.chaos]
SPEC = RolloutSpec(rollout="r-7", metrics={"errors": MetricSpec(source=Source.STATUS)})
EACH = 12
"""Requests a step."""
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


class Watched:
    """Steps of some seconds, of which a quarter of one passes: requests, then the collector looks, then the watch."""

    def __init__(
        self, envoy: Gateway, store: Store, log: Path, collector: LogCollector[Any], listener: Listener
    ) -> None:  # fmt: skip
        self.envoy, self.store, self.collector, self.listener = envoy, store, collector, listener
        self.log = log
        self.queries = Queries(store, lambda: datetime.now(UTC))
        self.watch = Watch.begin(0.0)
        self.second = 0
        self.asked = 0
        self.client = envoy.client()
        self.collector._elapsed = lambda: float(self.second)

    def step(self, times: int = 1, *, reads: bool = True, lasts: int = 1) -> Blindness | None:
        for _ in range(times):
            self.second += lasts
            for number in range(EACH):
                answer = self.client.post("/delays/predict", json={}, headers={"x-user-id": f"u{number}"})
                assert answer.status_code == 200
                self.asked += 1
            time.sleep(0.25)
            if reads:
                while self.collector.collect():
                    pass
                self.collector.call_back()
            self.look()
        return self.watch.sight.blind

    def look(self) -> None:
        served, read = self.envoy.plane.served(), read_of(self.store, self.log)
        counters = Counters(
            ended=served.ended[self.listener.value], lines=read.lines, unreadable=read.unreadable, size=read.size,
            unread=read.unread, buffered=served.buffered, failed_writes=served.failed_writes,
        )  # fmt: skip
        self.watch = self.watch.look(float(self.second), BEGAN + timedelta(seconds=self.second), counters)

    @property
    def counted(self) -> int:
        counters = self.queries.counters()
        return counters[Count.EXPOSURES] if self.listener is Listener.LIVE else counters[Count.SHADOWS]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path}/telemetry.db", durable=False)
    yield store
    store.close()


@pytest.fixture
def watched(tmp_path: Path, store: Store) -> Iterator[Watched]:
    with upstreams(build("1"), build("2")) as services, gateway(tmp_path / "envoy") as envoy:
        endpoints = {service.endpoint.build: (service.endpoint,) for service in services.values()}
        envoy.plane.apply(routes([standing(weight=5_000)], endpoints), endpoints)
        log = envoy.plane.logs / "live.jsonl"
        clock = lambda: datetime.now(UTC)  # noqa: E731
        collector = Collector(store, log, lambda _: SPEC, clock, reopen=envoy.plane.reopen_logs)
        watched = Watched(envoy, store, log, collector, Listener.LIVE)
        assert watched.step(4, lasts=3) is None
        yield watched
        watched.client.close()


def _rename(log: Path) -> None:
    log.rename(log.with_name("other"))


def _move_away(log: Path) -> None:
    log.rename(log.parent.parent / "elsewhere")


def _delete(log: Path) -> None:
    log.unlink()


def _cut(log: Path) -> None:
    os.truncate(log, 0)


def _delete_folder(log: Path) -> None:
    shutil.rmtree(log.parent)


@pytest.mark.parametrize("take", [_rename, _move_away, _delete, _cut, _delete_folder])
def test_a_log_that_is_taken_away_costs_no_line(watched: Watched, take: Callable[[Path], None]) -> None:
    take(watched.log)
    for _ in range(8):
        assert watched.step() is None
    assert watched.log.exists()
    assert watched.counted == watched.asked


@pytest.mark.parametrize("take", [_rename, None])
def test_a_collector_that_stopped_is_noticed_and_catches_up(
    watched: Watched, take: Callable[[Path], None] | None
) -> None:
    if take is not None:
        take(watched.log)
    blind = watched.step(20, reads=False)
    assert blind is not None
    assert "the collector is late" in blind.reason
    assert watched.step(3) is None
    assert watched.counted == watched.asked


def test_a_log_that_nothing_can_be_written_to_makes_blind_until_it_is_mended(watched: Watched) -> None:
    watched.log.unlink()
    watched.log.symlink_to("/dev/full")  # a disk without room
    watched.envoy.plane.reopen_logs()
    blind = watched.step(15)
    assert blind is not None
    assert "could not write its logs" in blind.reason
    lost = watched.asked - watched.counted
    assert lost >= 12 * EACH
    watched.log.unlink()
    assert watched.step(25, lasts=3) is None
    assert watched.asked - watched.counted <= lost + 4 * EACH, "once it is mended it is counted on"


def test_a_folder_that_nothing_can_be_made_in_makes_blind_until_it_is_mended(watched: Watched) -> None:
    watched.log.unlink()
    watched.log.mkdir()
    blind = watched.step(15)
    assert blind is not None
    assert "could not write its logs" in blind.reason
    watched.log.rmdir()
    assert watched.step(25, lasts=3) is None


def test_a_write_that_hangs_makes_blind(watched: Watched) -> None:
    """A file system that does not answer: a pipe that nobody reads stands for it."""
    watched.log.unlink()
    os.mkfifo(watched.log)
    watched.envoy.plane.reopen_logs()
    blind = watched.step(20)
    assert blind is not None
    assert "cannot write" in blind.reason


def test_a_gateway_that_was_killed_is_not_blind(watched: Watched) -> None:
    for _ in range(2):
        watched.envoy.kill()
        watched.envoy.restart()
        for _ in range(6):
            assert watched.step() is None


def test_what_callers_send_that_is_no_request_is_counted_too(watched: Watched) -> None:
    """Envoy's counters and its log agree about what never became a request."""
    import socket

    address = (watched.envoy.plane.places.host, watched.envoy.plane.places.port)
    for said in (
        b"GARBAGE\r\n\r\n",
        b"GET /a HTTP/1.1\r\nhost: x\r\n",
        b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nab",
    ):
        for _ in range(20):
            with socket.create_connection(address) as caller:
                caller.sendall(said)
    assert watched.step(5) is None
    assert watched.watch.sight.uncounted == 0


def test_copies_that_are_not_counted_make_the_shadows_listener_blind(tmp_path: Path, store: Store) -> None:
    with upstreams(build("1"), build("2")) as services, gateway(tmp_path / "envoy") as envoy:
        endpoints = {service.endpoint.build: (service.endpoint,) for service in services.values()}
        envoy.plane.apply(routes([standing(weight=10_000, is_shadow=True)], endpoints), endpoints)
        log = envoy.plane.logs / "shadow.jsonl"
        collector = ShadowCollector(
            store, log, lambda _: None, lambda: datetime.now(UTC), reopen=envoy.plane.reopen_logs
        )
        watched = Watched(envoy, store, log, collector, Listener.SHADOW)
        assert watched.step(4, lasts=3) is None
        assert watched.watch.sight.served > EACH
        _delete(log)
        assert watched.step(5) is None
        blind = watched.step(20, reads=False)
        assert blind is not None
        assert watched.step(3) is None
        assert watched.counted == watched.asked
        watched.client.close()
