"""Shadowed: a shadow under way over real logs, collectors and telemetry."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta
from pathlib import Path

from benchmarks.collector_lines import START, assigned, line
from sluicegate.flows.shadow.specs import shadow_specs
from sluicegate.flows.stages.tick import Authority, Tick, tick
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.facts import Observed, Packed, Ready
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.access_log import Assigned
from sluicegate.registry.words.build import Build
from sluicegate.registry.words.metric import Arm
from sluicegate.services.telemetry.pairs.collector import ShadowCollector
from sluicegate.services.telemetry.reading.queries import Queries
from sluicegate.services.telemetry.store.store import Store
from sluicegate.services.telemetry.tailing.collector import Collector
from sluicegate.services.telemetry.tally.spec import RolloutSpec
from tests import giving as orders
from tests.doubles.ledger import MemoryLedger
from tests.giving import Giver
from tests.plans import plan_from_values

ADA = Giver(actor="ada", cause="cli")
PLAN = {
    "kind": "plan", "model": "delays", "strategy": "shadow",
    "metrics": {"errors": {"source": "status"}, "flips": {"source": "disagreement"}},
    "guardrails": [{"metric": "errors"}], "steps": [{"weight": 10}, {"weight": 50}],
    "shadow": {
        "sample": 100, "max_time": "2h", "gates": [{"metric": "flips", "below": "5%"}],
        "guardrails": [{"metric": "errors", "alpha": 0.01}], "then": "canary",
    },
}  # fmt: skip


class Shadowed:
    """A shadow whose copies are served, with real logs, collectors and telemetry."""

    def __init__(
        self, folder: Path, plan: dict[str, object], *, ledger: Ledger | None = None, start: datetime = START
    ) -> None:
        self.folder, self.now, self.count, self.rng = folder, start, 0, random.Random(4)
        self.every = timedelta(seconds=5)
        self.ledger = ledger or MemoryLedger()
        self.plan: Plan = plan_from_values(plan, where="plan")
        self.store = Store(f"sqlite:///{folder / 'telemetry.db'}", durable=False)
        self.telemetry = Queries(self.store, lambda: self.now)
        clock = lambda: self.now  # noqa: E731
        source = shadow_specs(self.ledger, self._metrics, lambda ref: Build(ref=ref, source=""))
        self.live = Collector(self.store, folder / "live.jsonl", self._metrics, clock)
        self.shadow = ShadowCollector(self.store, folder / "shadow.jsonl", source, clock)
        first = orders.deploy(self.ledger, plan=self.plan, version="1", request=ADA, now=self.now).rollout
        self.launch(first.id)
        orders.complete(self.ledger, first.id, self.now)
        self.name = orders.start(self.ledger, plan=self.plan, version="2", request=ADA, now=self.now).rollout.id
        self.launch(self.name)
        self.ticks()
        self.ledger.append(self.name, self.rollout.seq + 1, Observed(epoch=self.rollout.epoch, version="t"), self.now)

    def _metrics(self, name: str) -> RolloutSpec | None:
        return RolloutSpec(rollout=name, metrics=dict(self.ledger.rollout(name).plan.metrics))

    def launch(self, name: str) -> None:
        packed = Packed(bento="b", bento_digest="b", model_digest="m")
        for fact in (packed, Ready(version=self.ledger.rollout(name).requested.version)):
            self.ledger.append(name, self.ledger.rollout(name).seq + 1, fact, self.now)

    @property
    def rollout(self) -> Rollout:
        return self.ledger.rollout(self.name)

    def ticks(self, authority: Authority = Authority.ADVANCE) -> Tick:
        return tick(self.ledger, self.telemetry, self.name, self.now, authority)

    def serves(self, requests: int, *, flips: float = 0.0, errors: float = 0.0, scored: bool = False) -> None:
        """Requests that stable answers, and their copies: labels, or scores that are never quite alike."""
        epoch, weight = self.rollout.epoch, self.rollout.weight
        mark = Assigned(
            variation="default", arm=Arm.CANDIDATE, build="2", rollout=self.name, epoch=epoch, weight=weight
        ).header  # fmt: skip
        with (self.folder / "live.jsonl").open("a") as live, (self.folder / "shadow.jsonl").open("a") as shadow:
            for _ in range(requests):
                self.count += 1
                rid, differs = f"r{self.count}", self.rng.random() < flips
                mine, its = self._scores(differs=differs) if scored else ("a", "b" if differs else "a")
                served, answered = ({"prediction": json.dumps({"c": ["prediction"], "r": [[v]]})} for v in (mine, its))
                failed = {"status": 500, "prediction": None} if self.rng.random() < errors else answered
                state = self.rng.choice(("NY", "TX", "CA"))
                own = {"listener": "shadow", "assigned": mark, "upstream": "2", "segments": [state, None, None, None]}
                at = {"ts": str(int(self.now.timestamp() * 1e6))}
                live.write(line(rid, assigned=assigned(rollout=None, weight=0), **at, **served))
                shadow.write(line(rid, **own, **at, **failed))
        self.now += self.every
        while self.live.collect() or self.shadow.collect():
            pass

    def _scores(self, *, differs: bool) -> tuple[float, float]:
        mine = self.rng.random()
        return mine, mine + self.rng.gauss(0.0, 0.004) + (0.15 if differs else 0.0)

    def runs(self, requests: int, *, flips: float = 0.0, errors: float = 0.0, scored: bool = False) -> None:
        """Until it has ended, or so many requests were served."""
        while requests > 0 and not self.rollout.is_ended:
            self.serves(100, flips=flips, errors=errors, scored=scored)
            self.ticks()
            requests -= 100
