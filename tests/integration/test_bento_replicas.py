"""Three real services of a real model behind a real Envoy, kept by the supervisor and the keeper's pass over them."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.rollout.facts import Packed
from sluicegate.registry.words.build import Build, BuildRef, replica_name
from sluicegate.services.bento.fleet import Fleet
from sluicegate.services.bento.packer import Packer
from sluicegate.services.host.programs.supervising import Supervisor
from sluicegate.services.keeper import fleet_pass
from sluicegate.services.keeper.fleet_pass import FleetPass, Need
from sluicegate.services.traffic.routes import routes
from tests.integration.bento_models import logged_models
from tests.integration.host_rig import supervised
from tests.integration.traffic_rig import Gateway, eventually, gateway, standing

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(600)]
REF = BuildRef(model="delays", version="1")
BODY = json.dumps({"inputs": [{"carrier": "AA", "distance": 700, "hour": 6}]}).encode()
SERVE = Serve.model_validate({"replicas": 3, "timeout": "2s"})


class Site:
    """What the keeper does once a second, and callers who never stop."""

    def __init__(self, fleet: Fleet, supervisor: Supervisor, envoy: Gateway, packed: Packed) -> None:
        self.fleet, self.supervisor, self.envoy, self.packed = fleet, supervisor, envoy, packed
        self.serve = SERVE
        self.statuses: list[int] = []
        self.versions: set[str | None] = set()
        self.pool = ThreadPoolExecutor(4)
        self.keeper = FleetPass(ledger=None, services=fleet, plane=self, pool=self.pool)  # type: ignore[arg-type]

    def in_flight(self, build: BuildRef) -> int | None:
        return self.envoy.plane.in_flight(build)

    def look(self) -> None:
        state = replace(standing(), serve=SERVE, stable_serve=SERVE)
        endpoints = self.fleet.endpoints()
        self.envoy.plane.apply(routes([state], endpoints), endpoints)
        self.versions.add(self.envoy.plane.observe())
        needs = (Need(build=REF, packed=self.packed, serve=self.serve),)
        self.keeper.start(needs, (), datetime.now(UTC))
        self.keeper.stop(needs, frozenset({REF}))

    def until(self, is_so: Any) -> None:
        """Look again and again until it is so."""
        eventually(lambda: self.look() or is_so(), seconds=150)  # type: ignore[func-returns-value]

    def answering(self) -> tuple[int, int] | None:
        return self.fleet.replicas().get(REF)

    def process(self, number: int) -> psutil.Process:
        states = {state.name: state.pid for state in self.supervisor.running()}
        return psutil.Process(states[replica_name(REF, number)])

    @contextmanager
    def callers(self) -> Iterator[None]:
        stop = threading.Event()

        def ask() -> None:
            with self.envoy.client() as client:
                while not stop.is_set():
                    answer = client.post("/delays/predict", content=BODY, headers={"content-type": "application/json"})
                    self.statuses.append(answer.status_code)

        crowd = [threading.Thread(target=ask) for _ in range(3)]
        for caller in crowd:
            caller.start()
        try:
            yield
        finally:
            stop.set()
            for caller in crowd:
                caller.join()


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Packed]:
    home = tmp_path_factory.mktemp("replicas")
    models = logged_models(tmp_path_factory.getbasetemp())
    packer = Packer(home / "bento", clock=lambda: datetime.now(UTC))
    return home, packer.pack(Build(ref=REF, source="models:/delays/1"), models["delays"], serve=SERVE)


@pytest.fixture
def site(packed: tuple[Path, Packed], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(fleet_pass, "HUNG_SECONDS", 2)
    monkeypatch.setattr(fleet_pass, "ASK_SECONDS", 1)
    monkeypatch.setattr(fleet_pass, "SPARE_SECONDS", 1)
    home, bento = packed
    with supervised() as supervisor, gateway(tmp_path / "envoy") as envoy:
        fleet = Fleet(tmp_path / "services", bentos=home / "bento", programs=supervisor)
        made = Site(fleet, supervisor, envoy, bento)
        made.until(lambda: made.answering() == (3, 3))
        made.versions.clear()  # before anybody answered there was another table
        yield made
        made.pool.shutdown()


def test_a_killed_and_a_hung_replica_are_restarted_alone_and_fewer_drain(site: Site) -> None:
    first = site.process(1).pid
    with site.callers():
        eventually(lambda: len(site.statuses) > 50)
        for victim in (site.process(2), *site.process(2).children(recursive=True)):
            victim.kill()
        site.until(lambda: site.answering() == (2, 3))
        site.until(lambda: site.answering() == (3, 3))

        hung = site.process(3)
        before = hung.pid
        for process in (hung, *hung.children(recursive=True)):
            process.send_signal(signal.SIGSTOP)
        site.until(lambda: site.answering() == (3, 3) and site.process(3).pid != before)

        site.serve = Serve.model_validate({"replicas": 1, "timeout": "2s"})
        site.until(lambda: site.fleet.running() == {REF: 1} and not site.fleet.leaving())
        asked = len(site.statuses)
        eventually(lambda: len(site.statuses) > asked + 50)
    assert site.process(1).pid == first, "nobody touched it"
    assert set(site.statuses) == {200}
    assert len(site.versions) == 1, "the table stayed as it was"
    assert len(site.envoy.lines(len(site.statuses))) == len(site.statuses)
    assert [state.name for state in site.supervisor.running()] == ["delays.v1"]


def test_memory_is_a_limit_and_the_service_goes_on(packed: tuple[Path, Packed], tmp_path: Path) -> None:
    from tests.direct_programs import DirectPrograms

    home, bento = packed
    programs = DirectPrograms()
    fleet = Fleet(tmp_path / "services", bentos=home / "bento", programs=programs)
    serve = Serve.model_validate({"resources": {"memory": "2GiB", "cpu": 2}, "workers": 2})
    try:
        fleet.start(REF, bento, serve)
        eventually(lambda: fleet.probe(REF) is None, seconds=120)
        workers = psutil.Process(programs.process("delays.v1").pid).children()
        assert [worker.rlimit(psutil.RLIMIT_DATA) for worker in workers] == [(2**30, 2**30)] * 2
        assert {worker.environ()["OMP_NUM_THREADS"] for worker in workers} == {"1"}
    finally:
        programs.close()
