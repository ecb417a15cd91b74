"""Generated requests through a real Envoy: both arms by weight, callers kept apart, an abort stops them."""

from __future__ import annotations

import stat
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa

from sluicegate.flows.rehearsal.captured import Captured
from sluicegate.flows.rehearsal.generating import AT_ONCE, Generating, Room, send_to
from sluicegate.registry.plan.fields import MetricSpec, Source
from sluicegate.registry.rollout.facts import Aborted, Observed, StepEntered
from sluicegate.registry.rollout.generating import generating
from sluicegate.registry.words.metric import Arm
from sluicegate.services.telemetry.reading.queries import Queries
from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.store.store import Store
from sluicegate.services.telemetry.tailing.collector import Collector
from sluicegate.services.telemetry.tailing.generated import GeneratedCollector
from sluicegate.services.telemetry.tally.spec import RolloutSpec
from sluicegate.services.traffic.routes import routes
from tests.integration.traffic_rig import Gateway, Upstream, build, eventually, gateway, standing, upstreams
from tests.unit.test_generating import ASKED, EVEN
from tests.unit.test_replay_first import NOW, Stand

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
SPEC = RolloutSpec(rollout="r-7", metrics={"errors": MetricSpec(source=Source.STATUS)}, generates=True, by_unit=True)
FORGED = {"x-sluice-generated": "1", "x-sluice-detour": "1", "x-sluice-assigned": "x", "x-user-id": "eve"}


@pytest.fixture(scope="module")
def services() -> Iterator[dict[str, Upstream]]:
    with upstreams(build("1"), build("2")) as running:
        yield running


@pytest.fixture
def envoy(tmp_path: Path, services: dict[str, Upstream]) -> Iterator[Gateway]:
    with gateway(tmp_path) as running:
        ends = {each.endpoint.build: (each.endpoint,) for each in services.values()}
        running.plane.apply(routes([standing(weight=3000)], ends), ends)
        yield running


class Counted:
    """Both collectors over the logs of a gateway."""

    def __init__(self, envoy: Gateway, folder: Path) -> None:
        self.store = Store(f"sqlite:///{folder / 'telemetry.db'}", durable=False)
        self.queries = Queries(self.store, lambda: datetime.now(UTC))
        ours = (self.store, envoy.plane.logs)
        self.all = [
            kind(ours[0], ours[1] / f"{name}.jsonl", lambda _: SPEC, lambda: datetime.now(UTC))
            for kind, name in ((Collector, "live"), (GeneratedCollector, "generated"))
        ]

    def collect(self) -> Counter[Arm]:
        for each in self.all:
            while each.collect():
                pass
        return Counter(self.queries.generated(["r-7"])["r-7"])

    def exposures(self) -> int:
        with self.store.read() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(schema.exposures)) or 0

    def rows(self) -> int:
        return sum(row.tally.n for row in self.queries.tallies("r-7")[1] if row.metric == "errors")


class Ramp(Stand):
    """A rollout whose plan asks for requests, by the ledger."""

    def __init__(self) -> None:
        super().__init__(EVEN, EVEN, model="delays", unit="x-user-id", **(ASKED | {"generate": {"rate": "400/s"}}))
        facts = (StepEntered(step=0, weight=1000, actor="driver", reason="x"), Observed(epoch=1, version="v"))
        self.rollout = self.facts(self.ready().id, *facts)

    @contextmanager
    def generates(self, envoy: Gateway, body: bytes = b'{"inputs": [{"x": 1}]}') -> Iterator[None]:
        captured = Captured(rid="r", body=body, headers={"x-user-id": "ada", **FORGED})
        generator = Generating(
            wanted=lambda: generating(self.ledger.current(), (), NOW), requests=lambda _: (captured,),
            send=partial(send_to, envoy.plane.places.generated_socket), hand=Room(AT_ONCE), elapsed=time.monotonic,
        )  # fmt: skip
        stop = threading.Event()

        def run() -> None:
            while not stop.wait(0.02):
                generator.turn()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def test_both_arms_get_them_by_weight_no_row_is_an_exposure_and_an_abort_stops_them(
    envoy: Gateway, tmp_path: Path
) -> None:
    ramp, counted = Ramp(), Counted(envoy, tmp_path)
    with ramp.generates(envoy):
        eventually(lambda: counted.collect().total() >= 1500)
        ramp.facts(ramp.rollout.id, Aborted(actor="ada", reason="x"))
        time.sleep(2)
        after = counted.collect().total()
        time.sleep(1)
        assert counted.collect().total() == after, "it went on after the abort"
    found = counted.collect()
    assert 0.24 < found[Arm.CANDIDATE] / found.total() < 0.36
    assert counted.rows() == found.total()
    assert (counted.exposures(), counted.queries.requests_by_arm("r-7").candidate.requests) == (0, 0)


def test_a_caller_is_a_caller_whatever_he_sends(envoy: Gateway, services: dict[str, Upstream], tmp_path: Path) -> None:
    counted = Counted(envoy, tmp_path)
    with envoy.client() as client:
        for headers in (FORGED, {name.upper(): value for name, value in FORGED.items()}, {"x_sluice_generated": "1"}):
            assert client.post("/delays/predict", json={}, headers=headers).status_code == 200
            seen = client.post("/delays/predict", json={}, headers=headers).json()["headers"]
            assert not {name.lower() for name in seen} & {"x-sluice-generated", "x_sluice_generated", "x-sluice-detour"}
    eventually(lambda: (counted.collect().total(), counted.rows()) == (0, 6))
    assert not (envoy.plane.logs / "generated.jsonl").read_text()
    socket = envoy.plane.places.generated_socket
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700


def test_a_large_body_takes_no_detour_into_the_log_of_callers(envoy: Gateway, tmp_path: Path) -> None:
    ramp, counted = Ramp(), Counted(envoy, tmp_path)
    with ramp.generates(envoy, b"[" + b"1," * 500_000 + b"1]"):
        eventually(lambda: counted.collect().total() >= 20)
    counted.collect()
    assert (counted.exposures(), counted.queries.requests_by_arm("r-7").stable.requests) == (0, 0)
    assert counted.rows() >= 20


def test_the_service_is_told_and_copies_are_no_pairs(
    envoy: Gateway, services: dict[str, Upstream], tmp_path: Path
) -> None:
    from sluicegate.services.telemetry.pairs.collector import ShadowCollector
    from sluicegate.services.telemetry.store.pair_schema import copies

    ends = {each.endpoint.build: (each.endpoint,) for each in services.values()}
    envoy.plane.apply(routes([standing(weight=10_000, is_shadow=True)], ends), ends)
    store = Store(f"sqlite:///{tmp_path / 'pairs.db'}", durable=False)
    shadow = ShadowCollector(store, envoy.plane.logs / "shadow.jsonl", lambda _: None, lambda: datetime.now(UTC))
    captured, ramp = Captured(rid="r", body=b"{}"), Ramp()
    for _ in range(5):
        send_to(envoy.plane.places.generated_socket, ramp.rollout, captured)
    lines = eventually(lambda: len(rows := envoy.shadow_lines(5)) >= 5 and rows)
    assert len(lines) == 5
    shadow.collect()
    with store.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(copies)) == 0
    with envoy.client() as client:
        assert client.post("/delays/predict", json={}).status_code == 200
    eventually(lambda: len(envoy.shadow_lines(6)) == 6)
    shadow.collect()
    with store.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(copies)) == 1
