"""Given: a target with a stable build, a candidate that is ready, and traffic whose harm is known."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sluicegate.flows.stages.tick import Authority, Tick, tick
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.facts import Observed, Packed, Ready
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.metric import Arm, Stratum, TallyRow
from sluicegate.registry.words.tally import Tally
from tests import giving as orders
from tests.doubles.ledger import MemoryLedger
from tests.giving import Giver

START = datetime(2026, 1, 1, tzinfo=UTC)
WHO = Giver(actor="ada", cause="cli")
PLAN = {
    "model": "delays",
    "metrics": {
        "errors": {"source": "status"},
        "log_loss": {
            "source": "outcome",
            "outcome": "late",
            "score": "log_loss",
            "prediction": {"column": "probability", "positive": 1},
        },
    },
    "gates": [{"metric": "log_loss", "alpha": 0.03, "margin": "5%"}],
    "guardrails": [{"metric": "errors", "alpha": 0.01}],
    "steps": [
        {"weight": 10, "margins": {"log_loss": "100%"}},
        {"weight": 25, "margins": {"log_loss": "30%"}},
        {"weight": 50},
    ],
    "expect": {"requests_per_day": 20000},
}


@dataclass
class Traffic:
    """Requests as a seeded gateway would split them; values drawn for each arm."""

    loss: dict[Arm, float]
    errors: dict[Arm, float]
    chance: random.Random
    labels: bool = True
    sums: dict[tuple[str, Stratum, int, Arm], Tally] = field(default_factory=dict)
    watermark: int = 0

    def flow(self, rollout: Rollout, requests: int, now: datetime) -> None:
        stratum = Stratum(epoch=rollout.epoch, bucket=int(now.timestamp()) // 300 * 300)
        for _ in range(requests):
            arm = Arm.CANDIDATE if self.chance.random() * 10_000 < rollout.weight else Arm.STABLE
            self._add("errors", stratum, rollout.weight, arm, float(self.chance.random() < self.errors[arm]))
            if self.labels:
                mean, spread = self.loss[arm], 0.437
                value = self.chance.gammavariate((mean / spread) ** 2, spread**2 / mean)
                self._add("log_loss", stratum, rollout.weight, arm, value)
        self.watermark += requests

    def _add(self, metric: str, stratum: Stratum, weight: int, arm: Arm, value: float) -> None:
        key = (metric, stratum, weight, arm)
        self.sums[key] = self.sums.get(key, Tally()) + Tally.from_values([value])

    def tallies(self, rollout: str) -> tuple[int, tuple[TallyRow, ...]]:
        return self.watermark, tuple(
            TallyRow(metric=m, stratum=s, weight=w, arm=a, tally=t) for (m, s, w, a), t in self.sums.items()
        )

    def progress(self, rollout: str, epoch: int) -> int:
        return sum(
            t.n for (m, s, _, a), t in self.sums.items() if m == "errors" and s.epoch == epoch and a is Arm.CANDIDATE
        )

    def stable_quantile(self, model: str, version: str, q: float) -> tuple[float, int] | None:
        return None


class Given:
    """A target with a stable build, a candidate that is ready, and traffic."""

    def __init__(
        self,
        plan: dict | None = None,
        *,
        candidate: float = 0.526,
        errors: float = 0.001,
        labels: bool = True,
        ledger: Ledger | None = None,
        start: datetime = START,
    ) -> None:
        self.ledger, self.now = ledger or MemoryLedger(), start
        self.traffic = Traffic(
            loss={Arm.STABLE: 0.557, Arm.CANDIDATE: candidate},
            errors={Arm.STABLE: 0.001, Arm.CANDIDATE: errors},
            chance=random.Random(7),
            labels=labels,
        )
        self.plan = Plan.model_validate(plan or PLAN)
        first = orders.deploy(self.ledger, plan=self.plan, version="1", request=WHO, now=start).rollout
        self._launch(first.id)
        orders.complete(self.ledger, first.id, start)
        self.name = orders.start(self.ledger, plan=self.plan, version="2", request=WHO, now=start).rollout.id
        self._launch(self.name)

    def _launch(self, name: str) -> None:
        for fact in (Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version="2")):
            rollout = self.ledger.rollout(name)
            self.ledger.append(name, rollout.seq + 1, fact, self.now)

    @property
    def rollout(self) -> Rollout:
        return self.ledger.rollout(self.name)

    def ticks(self, authority: Authority = Authority.ADVANCE) -> Tick:
        self.now += timedelta(seconds=1)
        return tick(self.ledger, self.traffic, self.name, self.now, authority)

    def serves(self) -> None:
        """The data plane comes to serve what is asked."""
        if self.rollout.observed_epoch != self.rollout.epoch:
            self.ledger.append(
                self.name, self.rollout.seq + 1, Observed(epoch=self.rollout.epoch, version="t"), self.now
            )

    def runs(self, requests: int, *, until: object = None, authority: Authority = Authority.ADVANCE) -> Given:
        for _ in range(requests // 100):
            self.serves()
            self.traffic.flow(self.rollout, 100, self.now)
            self.ticks(authority)
            if not self.rollout.is_tried or (until is not None and self.rollout.weight == until):
                break
        return self
