"""A model with three variations over a ledger in memory, and requests that the compiled routes split."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sluicegate.flows.stages.tick import Authority, tick
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.orders.connections_record import all_connections
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.experiment import comparisons_of, splits
from sluicegate.registry.rollout.facts import Observed, Packed, Ready
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.rollout.standing import standings
from sluicegate.registry.words.build import BuildRef, Endpoint, Endpoints
from sluicegate.registry.words.metric import Arm, Stratum, TallyRow
from sluicegate.registry.words.tally import Tally
from sluicegate.services.traffic.routes import routes
from sluicegate.services.traffic.table import Assignment, RouteTable
from tests import giving as orders
from tests.doubles.ledger import MemoryLedger
from tests.doubles.plane import answer
from tests.giving import Giver

START = datetime(2026, 1, 1, tzinfo=UTC)
WHO = Giver(actor="ada", cause="cli")
PLAN = {
    "model": "m",
    "unit": "x-user-id",
    "metrics": {
        "loss": {"source": "outcome", "outcome": "loss", "score": "outcome", "cap": 20},
        "errors": {"source": "status"},
    },
    "steps": [{"weight": 10}],
    "gates": [{"metric": "loss", "margin": "5%"}],
    "ab": {
        "variations": {"default": 1, "b": 1, "c": 1},
        "goal": {"metric": "loss", "alpha": 0.05},
        "guardrails": [{"metric": "errors", "alpha": 0.02}],
        "max_time": "14d",
    },
    "expect": {"requests_per_day": 2000},
}
EQUAL = {"default": 1.0, "b": 1.0, "c": 1.0}


def plan(**ab: object) -> Plan:
    return Plan.model_validate(PLAN | {"ab": PLAN["ab"] | ab})  # type: ignore[operator]


@dataclass
class Lab:
    """A model with three variations, and requests that the routes split."""

    loss: Mapping[str, float] = field(default_factory=lambda: EQUAL)
    errors: Mapping[str, float] = field(default_factory=dict)
    plan: Plan = field(default_factory=plan)
    lost: float = 0.0
    """The share of the control's lines that never arrive."""
    chance: random.Random = field(default_factory=lambda: random.Random(7))
    ledger: Ledger = field(default_factory=MemoryLedger)
    start: datetime = START

    def __post_init__(self) -> None:
        self.now = self.start
        self.sums: dict[tuple[str, str, Stratum, int, Arm], Tally] = {}
        self.served: dict[str, int] = {}
        self.came = 0
        for version, variation in enumerate(("default", "b", "c"), start=1):
            self.deploys(str(version), variation)

    def deploys(self, version: str, variation: str) -> None:
        bare = Plan.model_validate(
            {"model": "m", "variation": variation, "unit": "x-user-id", "steps": [{"weight": 10}]}
        )
        name = orders.deploy(self.ledger, plan=bare, version=version, request=WHO, now=self.now).rollout.id
        self.readies(name, version)

    def readies(self, name: str, version: str) -> None:
        for fact in (Packed(bento=f"b{version}", bento_digest="b", model_digest="m"), Ready(version=version)):
            rollout = self.ledger.rollout(name)
            if not (isinstance(fact, Packed) and rollout.packed):
                self.ledger.append(name, rollout.seq + 1, fact, self.now)
        orders.complete(self.ledger, name, self.now)

    def starts(self) -> Lab:
        orders.start_experiment(self.ledger, plan=self.plan, request=WHO, now=self.now)
        return self

    def begins(self) -> Lab:
        self.starts()
        self.ticks()
        self.serves()
        return self

    @property
    def group(self) -> tuple[Rollout, ...]:
        rollouts = self.ledger.rollouts()
        names = [r.requested.experiment for r in rollouts if r.requested.experiment]
        return comparisons_of(rollouts, names[-1] if names else None)

    def comparison(self, variation: str) -> Rollout:
        return next(each for each in self.group if each.requested.variation == variation)

    def table(self) -> RouteTable:
        rollouts = self.ledger.rollouts()
        there = standings(rollouts)
        return routes(there, self.endpoints(), all_connections(self.ledger), splits(rollouts, there))

    def endpoints(self) -> Endpoints:
        """Where the stable builds answer."""
        return {each.stable: (self.endpoint(each.stable),) for each in standings(self.ledger.rollouts())}

    def endpoint(self, build: BuildRef) -> Endpoint:
        """Where a build answers."""
        return Endpoint(build=build, host="127.0.0.1", port=9)

    def asks(self, unit: str, **metadata: str) -> Assignment:
        return answer(self.table().model("m"), {"x-user-id": unit} | metadata, lambda _: 0)

    def all_units(self, count: int = 3000) -> dict[str, str]:
        route = self.table().model("m")
        return {f"u{n}": answer(route, {"x-user-id": f"u{n}"}, lambda _: 0).variation for n in range(count)}

    def ticks(self, authority: Authority = Authority.ADVANCE) -> None:
        self.now += timedelta(seconds=1)
        for each in self.group:
            if not each.is_ended:
                tick(self.ledger, self, each.id, self.now, authority)

    def serves(self) -> None:
        for each in self.ledger.rollouts():
            if each.observed_epoch != each.epoch:
                self.ledger.append(each.id, each.seq + 1, Observed(epoch=each.epoch, version="t"), self.now)

    def runs(self, requests: int, *, until_over: bool = True) -> Lab:
        for _ in range(requests // 500):
            self.flows(500)
            self.ticks()
            self.serves()
            if until_over and all(each.is_ended for each in self.group):
                break
        return self

    def flows(self, requests: int) -> None:
        audience = self.table().model("m").audiences[-1]
        holders = [part.target.assigned for part in audience.slices for _ in range(part.size)]
        bucket = int(self.now.timestamp()) // 300 * 300
        for _ in range(requests):
            self.came += 1
            mark = self.chance.choice(holders)
            self.served[mark.variation] = self.served.get(mark.variation, 0) + 1
            if mark.rollout is None or (mark.arm is Arm.STABLE and self.chance.random() < self.lost):
                continue
            place = (Stratum(epoch=mark.epoch, bucket=bucket), mark.weight, mark.arm)
            value = min(self.loss[mark.variation] * self.chance.expovariate(1), 20.0)
            failed = float(self.chance.random() < self.errors.get(mark.variation, 0.001))
            for metric, seen in (("loss", value), ("errors", failed)):
                key = (mark.rollout, metric, *place)
                self.sums[key] = self.sums.get(key, Tally()) + Tally.from_values([seen])

    def tallies(self, rollout: str) -> tuple[int, tuple[TallyRow, ...]]:
        return self.came, tuple(
            TallyRow(metric=metric, stratum=stratum, weight=weight, arm=arm, tally=tally)
            for (whose, metric, stratum, weight, arm), tally in self.sums.items()
            if whose == rollout
        )

    def progress(self, rollout: str, epoch: int) -> int:
        return 0

    def stable_quantile(self, model: str, version: str, q: float) -> tuple[float, int] | None:
        return None

    def stable_predictions(self, *_: object) -> None:
        return None
