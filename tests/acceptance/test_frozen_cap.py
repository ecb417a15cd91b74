"""A mean without a cap in the plan: one is frozen from stable's values; until then the gate says what it waits for."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from benchmarks.collector_lines import START_US, assigned, line
from sluicegate.flows.rehearsal.rejudge import rejudge
from sluicegate.flows.stages.attempts import gates_of_attempt
from sluicegate.flows.wiring.rollout_specs import rollout_spec
from sluicegate.flows.wiring.runtime import Runtime
from sluicegate.registry.report.timeline import timeline
from sluicegate.registry.words.verdict import Answer
from sluicegate.services.telemetry.outcomes.outcome import OutcomeIn
from sluicegate.services.telemetry.tally.spec import RolloutSpec
from tests.acceptance.given import Given
from tests.contract.telemetry_rig import Rig

PLAN = {
    "model": "delays",
    "metrics": {"cost": {"source": "outcome", "outcome": "cost", "score": "outcome"}},
    "gates": [{"metric": "cost", "margin": "200%"}],
    "steps": [{"weight": 50, "approval": True}],
    "expect": {"requests_per_day": 20000},
}


class Shop(Given):
    """A rollout whose telemetry is the real one. Every request costs one or more, one in a hundred a thousand."""

    def __init__(self, folder: Path) -> None:
        super().__init__(PLAN)
        self.rig = Rig(f"sqlite:///{folder}/telemetry.db", folder / "live.jsonl", cast("dict[str, RolloutSpec]", self))
        self.traffic = self.rig.queries  # type: ignore[assignment]
        self.chance, self.count = random.Random(3), 0

    def get(self, name: str) -> RolloutSpec | None:
        return rollout_spec(cast("Runtime", SimpleNamespace(ledger=self.ledger)), name)

    def sells(self, requests: int, *, outside: bool = False) -> None:
        where: dict[str, object] = {"rollout": None, "weight": 0}
        if not outside:
            where = {"rollout": self.name, "epoch": self.rollout.epoch, "weight": self.rollout.weight}
        labels = []
        for _ in range(requests):
            self.count += 1
            is_candidate = not outside and self.chance.random() < 0.5
            self.rig.write(line(
                f"q{self.count}", ts=str(START_US + self.count * 1_000), upstream="2" if is_candidate else "1",
                assigned=assigned("candidate" if is_candidate else "stable", **where),
            ))  # fmt: skip
            value = 1_000.0 if self.count % 2_000 == 0 else 1 + self.chance.random()
            labels.append(OutcomeIn(prediction_id=f"q{self.count}", name="cost", value=value))
        self.rig.collect()
        self.rig.record(*labels)
        self.rig.collect()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    shop.rig.store.close()


def test_a_cap_is_frozen_before_traffic_comes_and_the_verdict_says_how_much_it_touched(shop: Shop) -> None:
    shop.sells(400, outside=True)
    shop.ticks()
    cap = shop.rollout.thresholds["cost^capped"]
    assert 1.9 < cap <= 2
    assert shop.rollout.weight == 5_000
    assert any("cap of cost fixed at " in each.text for each in timeline(shop.ledger.entries(shop.name)))
    assert "cap" not in str(shop.rollout.requested.plan), "the plan itself is what it was"
    shop.serves()
    for _ in range(8):
        shop.sells(200)
        (verdict,) = shop.ticks().verdicts
    assert verdict.answer is Answer.PASS
    assert "counted as the cap: " in str(verdict.details)
    assert "approximate" not in str(verdict.details)
    again = rejudge(
        shop.rollout.judged_plan, lambda name: shop.ledger.looks(shop.name, name),
        gates_of_attempt(shop.ledger, shop.rollout), shop.rollout.stable_name,
    )  # fmt: skip
    assert all(each.is_same for each in again)


def test_without_history_the_gate_says_what_it_waits_for_and_then_counts_what_comes(shop: Shop) -> None:
    shop.ticks()
    shop.serves()
    shop.sells(150)
    (verdict,) = shop.ticks().verdicts
    assert verdict.answer is Answer.NO_DATA
    assert "its cap is frozen once 200 of stable's values are known" in verdict.reason
    known = shop.rollout.seq
    shop.sells(100)
    shop.ticks()
    assert shop.rollout.seq == known, "waiting on is no news"
    shop.sells(300)
    shop.ticks()
    assert "cost^capped" in shop.rollout.thresholds
    before = shop.rig.sums("cost")
    assert before == (0, 0, 0.0), "what the cap was frozen from is not compared"
    shop.sells(300)
    (verdict,) = shop.ticks().verdicts
    assert verdict.k == 1
    assert verdict.stable_n + verdict.candidate_n == 300
