"""Three audiences, three rollouts, three endings: a real Envoy and collector, the keeper over an SQLite ledger."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from sluicegate.flows.views.overview import overview
from sluicegate.flows.wiring.gateway_plane import GatewayPlane
from sluicegate.flows.wiring.rollout_specs import rollout_spec
from sluicegate.flows.wiring.runtime import Runtime
from sluicegate.registry.ledger.restoration import MadeFrom
from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.rollout.facts import Packed
from sluicegate.registry.rollout.rollout import Ending, Phase
from sluicegate.registry.words.build import BuildRef, Endpoints
from sluicegate.registry.words.settings import Settings
from sluicegate.services.host.installation import Site
from sluicegate.services.keeper.fleet_pass import FleetPass
from sluicegate.services.keeper.keeper import Keeper
from sluicegate.services.telemetry.tailing.collector import Collector
from tests import giving as orders
from tests.acceptance.three_audiences import CANDIDATE, MODEL, STABLE, STATES, Three
from tests.doubles.one_each import OneEach
from tests.integration.traffic_rig import Gateway, Upstream, gateway
from tests.unit.test_keeper import Garage

pytestmark = [pytest.mark.slow]
BATCH = 60
"""Requests of one state between two looks."""


@dataclass
class Village(OneEach):
    """Small model services, as the keeper starts and stops them."""

    up: dict[BuildRef, Upstream] = field(default_factory=dict)

    def start(self, build: BuildRef, packed: Packed, serve: Serve) -> None:
        self.up[build] = Upstream(build)
        self.up[build].start()

    def stop(self, build: BuildRef) -> None:
        self.up.pop(build).kill()

    def endpoints(self) -> Endpoints:
        return {build: (service.endpoint,) for build, service in self.up.items()}

    def running(self) -> Mapping[BuildRef, int]:
        return dict.fromkeys(self.up, 1)

    def probe(self, build: BuildRef) -> str | None:
        self.up[build].wait()
        return None

    def gave_up(self, build: BuildRef) -> str | None:
        return None


class Country:
    """The real parts, and requests from four states."""

    def __init__(self, runtime: Runtime, running: Gateway, village: Village, pool: ThreadPoolExecutor) -> None:
        self.runtime, self.village = runtime, village
        self.gateway, self.client = running, running.client()
        self.three = Three(runtime.ledger, runtime.telemetry)
        live = running.plane.logs / "live.jsonl"
        self.collector = Collector(runtime.store, live, lambda name: rollout_spec(runtime, name), runtime.clock)
        plane = GatewayPlane(runtime, lambda: None)
        fleet = FleetPass(ledger=runtime.ledger, services=village, plane=plane, pool=pool)
        self.keeper = Keeper(
            made_from=MadeFrom(runtime.ledger, lambda: 0), leads=lambda: True,
            ledger=runtime.ledger, services=village, plane=plane, see_to_drivers=Garage().see_to,
            judge=self.three.judge, fleet=fleet, catalog_look=lambda now: None, clock=runtime.clock,
        )  # fmt: skip
        self.sent = 0
        self.answers: dict[str, set[str]] = {}

    def until(self, is_done: Callable[[], bool], seconds: float = 90.0) -> None:
        """Look, as the keeper does, until something holds; at least once."""
        end = time.monotonic() + seconds
        while True:
            self.keeper.look(self.runtime.clock())
            while self.collector.collect():
                pass
            self.three.drive(self.runtime.clock())
            if is_done():
                return
            assert time.monotonic() < end, "it did not happen in time"

    def is_serving(self) -> bool:
        return all(r.observed_epoch == r.epoch and (r.is_ended or r.step >= 0) for r in self.runtime.ledger.rollouts())

    def requests(self) -> None:
        """One batch from each state, and from elsewhere; every one is answered."""
        for name, state in {**STATES, "default": "Nevada"}.items():
            for _ in range(BATCH):
                self.sent += 1
                headers = {"state": state, "x-user-id": f"u-{self.sent}"}
                answer = self.client.post(f"/{MODEL}/predict", json={}, headers=headers)
                assert answer.status_code == 200, answer.text
                assert answer.headers["x-sluice-variation"] == name
                self.answers.setdefault(name, set()).add(answer.headers["x-sluice-build"])


@pytest.fixture
def country(tmp_path: Path) -> Iterator[Country]:
    settings = Settings.read({"SLUICE_STATE": str(tmp_path), "SLUICE_LEDGER": f"sqlite:///{tmp_path}/ledger.db"})
    runtime, village = Runtime(settings), Village()
    runtime.__dict__["site"] = Site(state=str(tmp_path), ports={})
    with gateway(tmp_path / "envoy") as running, ThreadPoolExecutor(4) as pool:
        runtime.__dict__["envoys"] = {"gateway": running.plane}
        try:
            yield Country(runtime, running, village, pool)
        finally:
            for build in list(village.up):
                with contextlib.suppress(KeyError):
                    village.stop(build)
            runtime.store.close()


def test_one_is_promoted_one_held_and_one_aborted_without_a_failed_request(country: Country) -> None:
    three, now = country.three, country.runtime.clock
    three.deploy(now())
    country.until(country.is_serving)
    three.roll_out(now())
    country.until(country.is_serving)
    country.village.up[BuildRef(model=MODEL, version=CANDIDATE["tx"])].mode("fail")
    for _ in range(40):
        country.requests()
        country.until(country.is_serving)
        if three.is_over:
            break
    ny, ca, tx = (three.rollout(name) for name in STATES)
    assert (ny.phase, ny.actor) == (Phase.BAKING, "policy")
    assert (ca.phase, ca.step) == (Phase.RUNNING, 1)
    assert (tx.ending, tx.actor) == (Ending.ABORTED, "policy")
    country.answers.clear()
    country.requests()
    assert country.answers["default"] == {STABLE["default"]}
    assert country.answers["ny"] == {CANDIDATE["ny"]}
    assert country.answers["tx"] == {STABLE["tx"]}
    assert country.answers["ca"] == {STABLE["ca"], CANDIDATE["ca"]}
    _overview_tells(country)
    _undeployed_without_a_failed_request(country)


def _overview_tells(country: Country) -> None:
    while country.collector.collect():
        pass
    runtime = country.runtime
    later = runtime.clock() + timedelta(minutes=2)
    served = overview(runtime.ledger, runtime.telemetry, [MODEL], later)
    found = {(row.audience, row.build): row for row in served}
    assert {name for name, _ in found} == {*STATES, "default"}
    held = found["ca", CANDIDATE["ca"]]
    assert (held.desired, held.verdict) == (50, "PASS")
    assert held.observed is not None
    assert 20 < held.observed < 80
    assert (held.requests_per_second or 0) > 0
    assert held.p95 is not None
    assert found["tx", STABLE["tx"]].desired == 100


def _undeployed_without_a_failed_request(country: Country) -> None:
    """Texas goes to the fallback; its service stops only after nobody is sent there."""
    ledger, now = country.runtime.ledger, country.runtime.clock()
    orders.take_away(ledger, model=MODEL, variation="tx", audience="tx", actor="ada", now=now)
    orders.undeploy(ledger, model=MODEL, variation="tx", is_last=False, actor="ada", reason="over", now=now)

    def is_gone() -> bool:
        headers = {"state": STATES["tx"]}
        assert country.client.post(f"/{MODEL}/predict", json={}, headers=headers).status_code == 200
        return BuildRef(model=MODEL, version=STABLE["tx"]) not in country.village.up

    country.until(is_gone)
