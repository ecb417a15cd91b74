"""Given a plan, when it ticks, then the weight is 25: the driver's tick over a real ledger and real gates."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from flows.ramp import Authority, Tick, tick
from registry import orders
from registry.errors import LedgerConflict
from registry.facts import Judged, Observed, Packed, Paused, Promoted, Ready
from registry.ledger.memory import MemoryLedger
from registry.metric import Arm, Stratum, Tally, TallyRow
from registry.orders import Request
from registry.plan import Plan
from registry.rollout import Ending, Phase, Rollout

START = datetime(2026, 1, 1, tzinfo=UTC)
WHO = Request(actor="ada", cause="cli")
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
        self.sums[key] = self.sums.get(key, Tally()) + Tally.of(value)

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
        self, plan: dict | None = None, *, candidate: float = 0.526, errors: float = 0.001, labels: bool = True
    ) -> None:
        self.ledger, self.now = MemoryLedger(), START
        self.traffic = Traffic(
            loss={Arm.STABLE: 0.557, Arm.CANDIDATE: candidate},
            errors={Arm.STABLE: 0.001, Arm.CANDIDATE: errors},
            chance=random.Random(7),
            labels=labels,
        )
        self.plan = Plan.model_validate(plan or PLAN)
        first = orders.deploy(self.ledger, plan=self.plan, version="1", request=WHO, now=START).rollout
        self._launch(first.id)
        orders.complete(self.ledger, first.id, START)
        self.name = orders.start(self.ledger, plan=self.plan, version="2", request=WHO, now=START).rollout.id
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
            if not self.rollout.has_exposure or (until is not None and self.rollout.weight == until):
                break
        return self


def test_a_ready_candidate_enters_the_first_step() -> None:
    given = Given()
    given.ticks()
    assert (given.rollout.phase, given.rollout.weight) == (Phase.RUNNING, 1000)


def test_only_a_driver_lets_it_enter() -> None:
    given = Given()
    given.ticks(Authority.STOP)
    assert given.rollout.weight == 0


def test_a_better_candidate_climbs_every_step_and_is_promoted_on_passing_verdicts() -> None:
    given = Given()
    given.ticks()
    given.runs(30_000, until=2500)
    assert given.rollout.weight == 2500
    given.runs(30_000, until=5000)
    assert given.rollout.weight == 5000
    given.runs(30_000)
    assert given.rollout.phase is Phase.BAKING
    promoted = next(e.fact for e in given.ledger.entries(given.name) if isinstance(e.fact, Promoted))
    assert (promoted.override, promoted.verdicts, promoted.actor) == (False, {"log_loss": "pass"}, "policy")


def test_a_worse_candidate_is_aborted_with_the_evidence() -> None:
    given = Given(candidate=0.62)
    given.ticks()
    given.runs(60_000)
    assert (given.rollout.ending, given.rollout.weight) == (Ending.ABORTED, 0)
    assert "log_loss" in given.rollout.reason


def test_the_keeper_aborts_on_a_guardrail_but_never_advances() -> None:
    harmed = Given(errors=0.2)
    harmed.ticks()
    harmed.runs(20_000, authority=Authority.STOP)
    assert harmed.rollout.ending is Ending.ABORTED
    assert "errors" in harmed.rollout.reason
    good = Given()
    good.ticks()
    good.runs(10_000, authority=Authority.STOP)
    assert (good.rollout.weight, good.rollout.phase) == (1000, Phase.RUNNING)


def test_a_paused_rollout_holds_its_weight_and_is_still_aborted_on_harm() -> None:
    given = Given(errors=0.2)
    given.ticks()
    orders.pause(given.ledger, given.name, actor="ada", reason="lunch", now=given.now)
    given.runs(20_000)
    assert given.rollout.ending is Ending.ABORTED


def test_without_labels_nothing_is_ever_promoted_however_long_it_takes() -> None:
    given = Given(labels=False)
    given.ticks()
    given.runs(10_000)
    given.now += timedelta(days=365)
    seen = given.ticks()
    assert (given.rollout.weight, given.rollout.phase) == (1000, Phase.RUNNING)
    assert "NO DATA" in seen.decision.reason


@pytest.mark.parametrize(("then", "expected"), [("pause", Phase.PAUSED), ("abort", Phase.ENDED)])
def test_a_deadline_pauses_or_aborts(then: str, expected: Phase) -> None:
    given = Given(PLAN | {"deadline": {"after": "1h", "then": then}}, labels=False)
    given.ticks()
    given.now += timedelta(hours=2)
    given.ticks()
    assert given.rollout.phase is expected
    assert given.rollout.weight == (1000 if then == "pause" else 0)


def test_a_step_that_was_not_seen_is_not_left() -> None:
    given = Given()
    given.ticks()
    for _ in range(100):
        given.traffic.flow(given.rollout, 100, given.now)
        seen = given.ticks()
    assert given.rollout.weight == 1000
    assert "data plane" in seen.decision.reason


def test_a_step_waits_for_requests_soak_and_a_person() -> None:
    steps = [{"weight": 10, "margins": {"log_loss": "100%"}, "min_requests": 2000, "soak": "1h", "approval": True}]
    given = Given(PLAN | {"steps": [*steps, {"weight": 50}]})
    given.ticks()
    given.runs(10_000)
    assert "of 2000 candidate requests" in given.ticks().decision.reason
    given.runs(15_000)
    assert "soaking" in given.ticks().decision.reason
    given.now += timedelta(hours=1)
    waiting = given.ticks().decision
    assert waiting.person
    assert "approval" in waiting.reason
    orders.approve(given.ledger, given.name, actor="ada", reason="looks fine", now=given.now)
    given.ticks()
    assert given.rollout.weight == 5000


def test_a_plan_without_gates_is_promoted_only_by_the_people_who_approved() -> None:
    given = Given({"model": "delays", "steps": [{"weight": 10}]})
    given.ticks()
    given.serves()
    assert given.ticks().decision.person
    orders.approve(given.ledger, given.name, actor="ada", reason="fine", now=given.now)
    given.ticks()
    promoted = given.ledger.entries(given.name)[-1].fact
    assert isinstance(promoted, Promoted)
    assert (promoted.override, promoted.actor) == (True, "ada")


def test_errors_alone_can_promote_a_candidate_that_never_fails() -> None:
    plan = {
        "model": "delays",
        "metrics": {"errors": {"source": "status"}},
        "gates": [{"metric": "errors", "alpha": 0.02, "below": "2%"}],
        "steps": [{"weight": 10}, {"weight": 50}],
    }
    good = Given(plan, errors=0.0)
    good.ticks()
    good.runs(20_000)
    assert good.rollout.phase is Phase.BAKING
    bad = Given(plan, errors=0.05)
    bad.ticks()
    bad.runs(40_000)
    assert bad.rollout.ending is Ending.ABORTED


def test_whoever_loses_the_race_changes_nothing_and_ticks_again() -> None:
    given = Given()
    given.ticks()
    seq = given.rollout.seq
    given.ledger.append(given.name, seq + 1, Paused(actor="ada", reason="first"), given.now)
    with pytest.raises(LedgerConflict):
        given.ledger.append(given.name, seq + 1, Paused(actor="bob", reason="late"), given.now)
    assert given.rollout.actor == "ada"


def test_a_verdict_is_on_record_once_for_each_change() -> None:
    given = Given()
    given.ticks()
    given.runs(3_000)
    judged = [e.fact for e in given.ledger.entries(given.name) if isinstance(e.fact, Judged)]
    answers = [(j.metric, j.step, j.answer) for j in judged]
    assert len(answers) == len(set(answers)), answers
