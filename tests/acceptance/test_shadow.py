"""Given a shadow under way, when requests and their copies are logged, then it ends by itself and hands over or not."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from benchmarks.collector_lines import START, assigned, row
from sluicegate.flows.gate.judge import verdict
from sluicegate.flows.shadow.specs import shadow_specs
from sluicegate.flows.stages.shadow import follows, hand_over
from sluicegate.flows.stages.tick import Authority, Tick, tick
from sluicegate.registry.plan.fields import Strategy
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.decision import needs_driver
from sluicegate.registry.rollout.facts import Judged, Observed, Packed, Ready
from sluicegate.registry.rollout.rollout import Ending, Phase, Rollout
from sluicegate.registry.words.access_log import Assigned
from sluicegate.registry.words.build import Build, BuildRef
from sluicegate.registry.words.metric import Arm
from sluicegate.services.keeper.drivers import deployment_of
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

    def __init__(self, folder: Path, plan: dict[str, object]) -> None:
        self.folder, self.now, self.count, self.rng = folder, START, 0, random.Random(4)
        self.ledger = MemoryLedger()
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

    def serves(self, requests: int, *, flips: float = 0.0, errors: float = 0.0) -> None:
        """Requests that stable answers, and their copies."""
        epoch, weight = self.rollout.epoch, self.rollout.weight
        mark = Assigned(
            variation="default", arm=Arm.CANDIDATE, build="2", rollout=self.name, epoch=epoch, weight=weight
        ).header  # fmt: skip
        with (self.folder / "live.jsonl").open("a") as live, (self.folder / "shadow.jsonl").open("a") as shadow:
            for _ in range(requests):
                self.count += 1
                rid, label = f"r{self.count}", "b" if self.rng.random() < flips else "a"
                answered = {"prediction": json.dumps({"c": ["prediction"], "r": [[label]]})}
                failed = {"status": 500, "prediction": None} if self.rng.random() < errors else answered
                served = {"prediction": json.dumps({"c": ["prediction"], "r": [["a"]]})}
                own = {"listener": "shadow", "assigned": mark, "upstream": "2", "segments": [None] * 4}
                live.write(json.dumps(row(rid, assigned=assigned(rollout=None, weight=0), **served)) + "\n")
                shadow.write(json.dumps(row(rid, **own, **failed)) + "\n")
        self.now += timedelta(seconds=5)
        while self.live.collect() or self.shadow.collect():
            pass

    def runs(self, requests: int, **harm: float) -> None:
        """Until it has ended, or so many requests were served."""
        while requests > 0 and not self.rollout.is_ended:
            self.serves(100, **harm)
            self.ticks()
            requests -= 100


@pytest.fixture
def given(tmp_path: Path) -> Iterator[Callable[..., Shadowed]]:
    made: list[Shadowed] = []

    def make(**changes: object) -> Shadowed:
        made.append(Shadowed(tmp_path, PLAN | {"shadow": PLAN["shadow"] | changes}))  # type: ignore[operator]
        return made[-1]

    yield make
    for each in made:
        each.store.close()


def test_copies_begin_at_the_sample_and_the_shadow_flow_drives_them(given: Callable[..., Shadowed]) -> None:
    shadowed = given(sample=30)
    assert (shadowed.rollout.phase, shadowed.rollout.weight) == (Phase.RUNNING, 3_000)
    assert deployment_of(shadowed.rollout) == "shadow/shadow"
    assert shadowed.ledger.rollouts()[-1].holds_target is False


def test_an_equal_candidate_passes_ends_and_is_handed_over_to_a_canary_once(given: Callable[..., Shadowed]) -> None:
    shadowed = given()
    shadowed.runs(3_000, flips=0.005)
    assert (shadowed.rollout.ending, shadowed.rollout.weight) == (Ending.CONCLUDED, 0)
    assert "every gate passed" in shadowed.rollout.reason
    assert needs_driver(shadowed.rollout, None)
    handed = [hand_over(shadowed.ledger, shadowed.rollout, shadowed.now) for _ in range(2)]
    first, second = (each for each in handed if each is not None)
    assert first.id == second.id != shadowed.name
    assert (first.requested.strategy, first.requested.cause) == (Strategy.CANARY, f"shadow:{shadowed.name}")
    assert [step.weight for step in first.plan.steps] == [1_000, 5_000]


def test_a_candidate_that_answers_otherwise_is_refused_and_nothing_follows(given: Callable[..., Shadowed]) -> None:
    shadowed = given()
    shadowed.runs(3_000, flips=0.12)
    assert shadowed.rollout.ending is Ending.ABORTED
    assert "more than the 5 % that the plan allows" in shadowed.rollout.reason
    assert hand_over(shadowed.ledger, shadowed.rollout, shadowed.now) is None


def test_the_keeper_stops_a_shadow_that_fails_and_ends_one_whose_time_is_over(given: Callable[..., Shadowed]) -> None:
    shadowed = given()
    shadowed.serves(400, errors=0.2)
    shadowed.ticks(Authority.STOP)
    assert shadowed.rollout.ending is Ending.ABORTED
    assert "errors" in shadowed.rollout.reason


def test_a_shadow_that_never_gets_evidence_ends_with_its_time_and_hands_nothing_over(
    given: Callable[..., Shadowed],
) -> None:
    shadowed = given()
    shadowed.serves(20)
    shadowed.now += timedelta(hours=2)
    shadowed.ticks(Authority.STOP)
    assert shadowed.rollout.ending is Ending.CONCLUDED
    assert "2h are over" in shadowed.rollout.reason
    assert not follows(shadowed.rollout)


def test_a_paused_shadow_ends_with_its_time_and_what_passed_meanwhile_hands_nothing_over(
    given: Callable[..., Shadowed],
) -> None:
    shadowed = given()
    orders.pause(shadowed.ledger, shadowed.name, actor="ada", reason="lunch", now=shadowed.now)
    shadowed.runs(2_000)
    assert (shadowed.rollout.phase, shadowed.rollout.has_passed) == (Phase.PAUSED, True)
    shadowed.now += timedelta(hours=2)
    shadowed.ticks(Authority.STOP)
    assert (shadowed.rollout.ending, shadowed.rollout.weight) == (Ending.CONCLUDED, 0)
    assert shadowed.rollout.reason == "2h are over while it was paused: lunch"
    assert hand_over(shadowed.ledger, shadowed.rollout, shadowed.now) is None


def test_a_person_who_ends_a_shadow_that_passed_starts_nothing(given: Callable[..., Shadowed]) -> None:
    shadowed = given(soak="1h")
    shadowed.runs(2_000)
    assert shadowed.rollout.has_passed
    orders.abort(shadowed.ledger, shadowed.name, actor="ada", reason="enough", now=shadowed.now)
    assert hand_over(shadowed.ledger, shadowed.rollout, shadowed.now) is None


def test_a_shadow_ends_when_stable_changes(given: Callable[..., Shadowed]) -> None:
    shadowed = given(soak="1h")
    shadowed.runs(1_000)
    canary = orders.start(
        shadowed.ledger, plan=shadowed.plan, version="3", request=ADA, now=shadowed.now, strategy=Strategy.CANARY
    ).rollout.id  # fmt: skip
    shadowed.launch(canary)
    orders.promote(shadowed.ledger, canary, actor="ada", reason="now", now=shadowed.now)
    shadowed.ticks(Authority.STOP)
    assert shadowed.rollout.ending is Ending.CONCLUDED
    assert shadowed.rollout.reason == "stable is v3 now, and this compared with v1"
    assert not follows(shadowed.rollout)


def test_verdicts_are_those_of_the_recorded_looks(given: Callable[..., Shadowed]) -> None:
    shadowed = given(soak="1h")
    shadowed.runs(1_500, flips=0.02)
    rollout = shadowed.rollout
    looks = shadowed.ledger.looks(rollout.id, "flips")
    again = verdict(plan=rollout.plan, gate=rollout.plan.gates[0], guardrail=False, step=0, looks=looks)
    told = [e.fact for e in shadowed.ledger.entries(rollout.id) if isinstance(e.fact, Judged)]
    assert (again, again.answer.value) == (looks[-1].verdict, [f.answer for f in told if f.metric == "flips"][-1])
    assert BuildRef(model="delays", version="2") == rollout.candidate
