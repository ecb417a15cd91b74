"""An experiment over a real Envoy and a real collector: who is assigned, who is counted, and what harm leads to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from sluicegate.flows.wiring.rollout_specs import rollout_spec
from sluicegate.registry.audience.connections import Connections, Weighted
from sluicegate.registry.rollout.rollout import Ending
from sluicegate.registry.words.build import BuildRef, Endpoint
from sluicegate.registry.words.metric import TallyRow
from sluicegate.services.client import Client
from sluicegate.services.telemetry.reading.queries import Queries
from sluicegate.services.telemetry.store.store import Store
from sluicegate.services.telemetry.tailing.collector import Collector
from sluicegate.services.telemetry.tally.spec import RolloutSpec
from tests.experiment_lab import Lab, plan
from tests.giving import connect
from tests.integration.traffic_rig import Gateway, Upstream, gateway, upstreams

pytestmark = pytest.mark.slow
UNITS = [f"unit-{n}" for n in range(400)]


@dataclass
class RealLab(Lab):
    """The same, with what is served and counted by the real thing."""

    services: dict[str, Upstream] | None = None
    gateway: Gateway | None = None
    store: Store | None = None
    asked: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self.store is not None
        assert self.gateway is not None
        self.queries = Queries(self.store, lambda: datetime.now(UTC))
        self.collector = Collector(
            self.store, self.gateway.plane.logs / "live.jsonl", self._spec, lambda: datetime.now(UTC)
        )

    def _spec(self, name: str) -> RolloutSpec | None:
        return rollout_spec(SimpleNamespace(ledger=self.ledger), name)  # type: ignore[arg-type]

    def endpoint(self, build: BuildRef) -> Endpoint:
        assert self.services is not None
        return replace(self.services[build.version].endpoint, build=build)

    def serves(self) -> None:
        assert self.gateway is not None
        self.gateway.plane.apply(self.table(), self.endpoints())
        super().serves()

    def asks_all(self, units: list[str]) -> Counter[str]:
        """The variation of each unit's answer, one request after another; what was counted of them is collected."""
        assert self.gateway is not None
        with Client(self.gateway.plane.url, timeout=30) as client:
            answers = {unit: client.predict("m", [{"a": 1}], unit=unit) for unit in units}
        assert {unit: each.variation for unit, each in answers.items()} == {
            unit: self.asks(unit).variation for unit in units
        }
        self.asked += len(units)
        self.gateway.lines(self.asked)
        while self.collector.collect():
            pass
        return Counter(each.variation for each in answers.values())

    def tallies(self, rollout: str) -> tuple[int, tuple[TallyRow, ...]]:
        return self.queries.tallies(rollout)

    def requests(self, name: str | None) -> int:
        seen = self.queries.requests_by_arm(name or "")
        return seen.stable.requests + seen.candidate.requests


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[RealLab]:
    store = Store(f"sqlite:///{tmp_path / 'telemetry.db'}", durable=False)
    builds = [BuildRef(model="m", version=version) for version in "123"]
    with upstreams(*builds) as services, gateway(tmp_path / "envoy") as running:
        harm = plan(holdout=10, guardrails=[{"metric": "errors", "alpha": 0.05}])
        yield RealLab(plan=harm, services=services, gateway=running, store=store)
    store.close()


def test_everybody_gets_what_anyone_can_compute_and_only_the_compared_are_counted(lab: RealLab) -> None:
    lab.begins()
    served = lab.asks_all(UNITS)
    assert set(served) == {"default", "b", "c"}
    counted = {each.requested.variation: lab.requests(each.id) for each in lab.group}
    assert counted == {name: served[name] for name in ("b", "c")}
    held_out = served["default"] - lab.requests(lab.group[0].requested.experiment)
    assert 0 < held_out < 80
    weighted = (Weighted(variation="default", weight=1), Weighted(variation="b", weight=99))
    connect(lab.ledger, Connections(model="m", fallback=weighted), "ada", lab.now)
    lab.serves()
    assert lab.asks_all(UNITS) == served


def test_a_variation_that_fails_is_stopped_and_no_caller_sees_it(lab: RealLab) -> None:
    """The control answers for it, its failures are counted against it alone, and then its units are the control's."""
    lab.begins()
    assert lab.services is not None
    lab.services["3"].mode("fail")
    for part in range(4):
        lab.asks_all([f"{part}-{unit}" for unit in UNITS])
        lab.ticks()
        lab.serves()
        if lab.comparison("c").is_ended:
            break
    assert lab.comparison("c").ending is Ending.ABORTED
    assert not lab.comparison("b").is_ended
    assert set(lab.asks_all(UNITS)) == {"default", "b"}
