"""From answers in the gateway's log to an aborted rollout: nothing but predictions, abandonment and broken promises."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from benchmarks.collector_lines import START_US, assigned, line
from sluicegate.flows.wiring.rollout_specs import rollout_spec
from sluicegate.flows.wiring.runtime import Runtime
from sluicegate.registry.plan.fields import thresholds_of
from sluicegate.registry.rollout.facts import Frozen
from sluicegate.registry.rollout.rollout import Ending
from sluicegate.registry.words.metric import LEVELS
from sluicegate.services.telemetry.tally.spec import RolloutSpec
from tests.acceptance.given import Given
from tests.contract.telemetry_rig import Rig
from tests.contract.test_telemetry_abandoned import LEFT

PLAN: dict[str, Any] = {
    "model": "delays",
    "metrics": {
        "errors": {"source": "status"},
        "drift": {"source": "prediction", "prediction": {"column": "probability"}},
        "contract": {"source": "contract"},
    },
    "guardrails": [
        {"metric": "errors", "alpha": 0.01},
        {"metric": "drift", "alpha": 0.01},
        {"metric": "contract", "alpha": 0.01},
    ],
    "steps": [{"weight": 20, "approval": True}],
    "expect": {"requests_per_day": 20000},
}
Change = Callable[[random.Random], dict[str, object]]


class Scene(Given):
    """A rollout whose telemetry is the real one, fed from a log."""

    def __init__(self, folder: Path, plan: dict[str, Any] = PLAN) -> None:
        super().__init__(plan)
        self.rig = Rig(f"sqlite:///{folder}/telemetry.db", folder / "live.jsonl", cast("dict[str, RolloutSpec]", self))
        self.traffic = self.rig.queries  # type: ignore[assignment]
        self.chance, self.count = random.Random(11), 0

    def get(self, name: str) -> RolloutSpec | None:
        return rollout_spec(cast("Runtime", SimpleNamespace(ledger=self.ledger)), name)

    def answers(self, requests: int, candidate: Change = lambda _: {}, *, outside: bool = False) -> None:
        """Requests: stable's predictions are uniform; the candidate's lines are changed."""
        share = 0.0 if outside else self.rollout.weight / 10_000
        where: dict[str, object] = {"rollout": None, "weight": 0}
        if not outside:
            where = {"rollout": self.name, "epoch": self.rollout.epoch, "weight": self.rollout.weight}
        for _ in range(requests):
            self.count += 1
            is_candidate = self.chance.random() < share
            fields: dict[str, object] = {
                "ts": str(START_US + self.count * 1_000), "prediction": told(self.chance.random()),
                "assigned": assigned("candidate" if is_candidate else "stable", **where),
                "upstream": "2" if is_candidate else "1",
            }  # fmt: skip
            self.rig.write(line(f"q{self.count}", **fields | (candidate(self.chance) if is_candidate else {})))
        self.rig.collect()

    def rolls(self, candidate: Change = lambda _: {}) -> Scene:
        """Freeze, enter the step, and serve until it ends or 3,000 requests were served."""
        self.answers(300, outside=True)
        self.ticks()
        for _ in range(15):
            self.serves()
            self.answers(200, candidate)
            self.ticks()
            if self.rollout.ending is not None:
                break
        return self


def told(value: float, **more: object) -> str:
    return json.dumps({"c": ["probability"], "r": [[value]]} | more)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.rig.store.close()


def test_levels_are_frozen_from_stables_history_before_the_first_request(scene: Scene) -> None:
    scene.answers(150, outside=True)
    scene.ticks()
    assert scene.rollout.thresholds == {}
    scene.answers(150, outside=True)
    scene.ticks()
    frozen = [entry.fact for entry in scene.ledger.entries(scene.name) if isinstance(entry.fact, Frozen)]
    assert tuple(fact.metric for fact in frozen) == thresholds_of("drift", scene.plan.metrics["drift"])
    assert all(fact.rows == 300 for fact in frozen)
    assert [fact.threshold for fact in frozen] == pytest.approx(LEVELS, abs=0.08)
    scene.ticks()
    assert len([e for e in scene.ledger.entries(scene.name) if isinstance(e.fact, Frozen)]) == len(LEVELS)


def test_an_equal_candidate_is_not_stopped(scene: Scene) -> None:
    assert scene.rolls().rollout.ending is None
    assert {name: known.answer for name, known in scene.rollout.judgements.items()} == {
        "errors": "undecided", "drift": "undecided", "contract": "undecided"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "candidate"),
    [
        ("drift", lambda rng: {"prediction": told(rng.random() ** 4)}),
        ("drift", lambda _: {"prediction": told(0.5)}),
        ("contract", lambda rng: {"prediction": told(rng.random(), x="nan")}),
        ("errors", lambda _: LEFT),
    ],
    ids=["drift", "a constant", "answers that break the signature", "callers that leave"],
)
def test_a_candidate_is_aborted_for_what_it_answers(scene: Scene, metric: str, candidate: Change) -> None:
    rollout = scene.rolls(candidate).rollout
    assert rollout.ending is Ending.ABORTED
    assert metric in rollout.reason
    assert rollout.weight == 0
