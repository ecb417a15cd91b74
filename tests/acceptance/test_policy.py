"""Given a plan, when a rollout goes its way, then ...: the fold and the policy together, without any server."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.decision import Choice, Decision, Progress, decide
from sluicegate.registry.rollout.facts import (
    Aborted,
    Approved,
    Baked,
    Begun,
    Fact,
    Judged,
    Packed,
    Paused,
    Promoted,
    Ready,
    Requested,
    Resumed,
    StepEntered,
)
from sluicegate.registry.rollout.facts import Observed as Seen
from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.rollout.standing import Standing, standings
from sluicegate.registry.words.units import parse_duration
from sluicegate.registry.words.verdict import Answer, Verdict
from tests.doubles.ledger import MemoryLedger

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
ERRORS = {
    "metrics": {"errors": {"source": "status"}},
    "gates": [{"metric": "errors", "margin": "50%"}],
    "steps": [{"weight": 10, "soak": "10m", "min_requests": 100}, {"weight": 50}],
}


@dataclass
class Story:
    """One candidate v2 beside stable v1, a clock, and what the gates last answered."""

    plan: dict[str, Any]
    now: datetime = NOON
    answers: dict[str, Answer] = field(default_factory=dict)
    requests: int = 0
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    said: Decision | None = None

    def __post_init__(self) -> None:
        document = Plan.model_validate({"model": "delays", **self.plan}).document()
        for rollout, version, strategy in (("r1", "1", "deploy"), ("r2", "2", "canary")):
            asked = Requested(
                model="delays",
                variation="default",
                version=version,
                strategy=strategy,
                plan=document,
                plan_digest="",
                actor="ada",
                cause="cli",
            )
            self.ledger.open(rollout, asked, self.now)
        launched = [Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version="x")]
        self._tell("r1", Begun(stable=None), *launched, Promoted(actor="ada", reason="", override=True, verdicts={}))
        self._tell("r1", Baked(reason=""))
        self._tell("r2", Begun(stable="1"), *launched)
        self._tell("r2", StepEntered(step=0, weight=self.rollout.plan.steps[0].weight, actor="policy", reason="ready"))

    @property
    def rollout(self) -> Rollout:
        return self.ledger.rollout("r2")

    @property
    def standing(self) -> Standing:
        return standings(self.ledger.rollouts())[0]

    def _tell(self, rollout: str, *facts: Fact) -> None:
        for fact in facts:
            self.ledger.append(rollout, self.ledger.rollout(rollout).seq + 1, fact, self.now)

    def served(self) -> Self:
        """The data plane shows the weight."""
        self._tell("r2", Seen(epoch=self.rollout.epoch, version="v"))
        return self

    def after(self, duration: str, *, requests: int = 0, **answers: Answer) -> Self:
        """Time goes by, requests are served, gates answer."""
        self.now += timedelta(seconds=parse_duration(duration))
        self.requests += requests
        self.answers |= answers
        return self

    def person(self, fact: Fact) -> Self:
        self._tell("r2", fact)
        return self

    def tick(self) -> Self:
        """What policy decides now, done."""
        rollout = self.rollout
        guarding = {gate.metric for gate in rollout.plan.guardrails}
        verdicts = [
            Verdict(metric=m, answer=a, reason="as told", step=rollout.step, k=1, guardrail=m in guarding)
            for m, a in self.answers.items()
        ]
        for each in verdicts:
            self._tell(
                "r2", Judged(metric=each.metric, answer=each.answer.value, k=1, step=each.step, reason="as told")
            )
        rollout = self.rollout
        self.said = decide(rollout, verdicts, Progress(candidate_requests=self.requests), self.now)
        fact = self._fact(self.said, {v.metric: v.answer.value for v in verdicts if not v.guardrail})
        if fact is not None:
            self.answers, self.requests = {}, 0
            self._tell("r2", fact)
        return self

    def _fact(self, said: Decision, verdicts: dict[str, str]) -> Fact | None:
        rollout = self.rollout
        match said.choice:
            case Choice.HOLD:
                return None
            case Choice.PAUSE:
                return Paused(actor="policy", reason=said.reason)
            case Choice.ABORT:
                return Aborted(actor="policy", reason=said.reason, verdicts=verdicts)
            case Choice.PROMOTE:
                by = rollout.approvals.get(rollout.step, "policy")
                return Promoted(actor=by, reason=said.reason, override=not verdicts, verdicts=verdicts)
            case Choice.ADVANCE:
                weight = rollout.plan.steps[rollout.step + 1].weight
                return StepEntered(step=rollout.step + 1, weight=weight, actor="policy", reason=said.reason)

    def why(self) -> str:
        assert self.said is not None
        return self.said.reason


def test_a_good_candidate_is_promoted_step_by_step() -> None:
    story = Story(ERRORS).served().after("10m", requests=100, errors=Answer.PASS).tick()
    assert (story.rollout.step, story.standing.weight) == (1, 5_000)
    story.served().after("1s", errors=Answer.PASS).tick()
    assert (story.rollout.phase, story.standing.stable.version, story.standing.weight) == (Phase.BAKING, "2", 0)
    assert {build.version for build in story.standing.warm} == {"1"}


def test_a_bad_candidate_loses_all_its_traffic_at_once() -> None:
    story = Story(ERRORS).served().after("1s", requests=7, errors=Answer.FAIL).tick()
    assert (story.rollout.ending, story.standing.stable.version, story.standing.candidate) == ("aborted", "1", None)
    assert story.rollout.reason == "errors failed: as told"


def test_soak_requests_and_gate_are_all_needed() -> None:
    story = Story(ERRORS).served()
    assert story.after("5m", requests=50, errors=Answer.UNDECIDED).tick().why() == "errors must still pass: as told"
    assert "50 of 100" in story.after("1s", errors=Answer.PASS).tick().why()
    assert "soaking" in story.after("1s", requests=50).tick().why()
    assert story.after("5m").tick().rollout.step == 1


def test_nothing_counts_before_the_data_plane_serves_the_weight() -> None:
    story = Story(ERRORS).after("1h", requests=1_000, errors=Answer.PASS).tick()
    assert story.rollout.step == 0
    assert story.why().startswith(
        "the gateway has not applied 10 % yet, more than a minute after its weight was ordered"
    )


def test_silence_never_promotes_and_ends_in_a_pause() -> None:
    story = Story(ERRORS | {"deadline": {"after": "3d"}}).served()
    for _ in range(71):
        assert story.after("1h", requests=1_000, errors=Answer.NO_DATA).tick().rollout.phase is Phase.RUNNING
    story.after("1h", errors=Answer.NO_DATA).tick()
    assert (story.rollout.phase, story.standing.weight) == (Phase.PAUSED, 1_000)
    assert story.why() == "the rollout was undecided when its deadline of 3d passed"


def test_a_person_who_resumes_gives_the_time_limit_once_more() -> None:
    story = Story(ERRORS | {"deadline": {"after": "1d"}}).served().after("1d").tick()
    story.person(Resumed(actor="ada", reason="wait for it"))
    assert story.after("23h", errors=Answer.UNDECIDED).tick().rollout.phase is Phase.RUNNING
    assert story.after("1h").tick().rollout.phase is Phase.PAUSED


def test_a_deadline_may_abort() -> None:
    story = Story(ERRORS | {"deadline": {"after": "1d", "then": "abort"}}).served().after("1d").tick()
    assert (story.rollout.ending, story.standing.weight) == ("aborted", 0)


def test_guardrails_go_on_while_a_person_thinks() -> None:
    guarded = ERRORS | {
        "metrics": {"errors": {"source": "status"}, "p99": {"source": "latency", "quantile": 0.99}},
        "guardrails": [{"metric": "p99", "alpha": 0.01}],
    }
    story = Story(guarded).served().person(Paused(actor="ada", reason="lunch"))
    assert story.after("1h", requests=500, errors=Answer.PASS, p99=Answer.PASS).tick().rollout.phase is Phase.PAUSED
    assert story.after("1s", p99=Answer.FAIL).tick().rollout.ending == "aborted"


def test_a_step_that_wants_a_person_waits_for_this_step_only() -> None:
    plan = ERRORS | {"steps": [{"weight": 10, "approval": True}, {"weight": 50, "approval": True}]}
    story = Story(plan).served().after("1s", errors=Answer.PASS)
    assert "requires a person's approval" in story.tick().why()
    story.person(Approved(step=0, actor="ada", reason="fine")).tick()
    assert story.rollout.step == 1
    assert "requires a person's approval" in story.served().after("1s", errors=Answer.PASS).tick().why()
    assert story.person(Approved(step=1, actor="bo", reason="go")).tick().rollout.phase is Phase.BAKING


def test_without_gates_only_people_move_it_on() -> None:
    story = Story({"steps": [{"weight": 10}]}).served().after("9d", requests=10**6)
    assert "no gate decides" in story.tick().why()
    story.person(Approved(step=0, actor="ada", reason="looks good")).tick()
    assert (story.rollout.phase, story.rollout.actor) == (Phase.BAKING, "ada")


def test_an_abort_while_baking_brings_the_former_back() -> None:
    story = Story(ERRORS | {"steps": [{"weight": 10}], "bake": "30m"}).served().after("1s", errors=Answer.PASS).tick()
    story.person(Aborted(actor="ada", reason="complaints"))
    assert (story.standing.stable.version, story.standing.candidate) == ("1", None)


def test_a_late_verdict_of_the_step_before_moves_nothing() -> None:
    story = Story(ERRORS).served().after("10m", requests=100, errors=Answer.PASS).tick().served()
    old = Verdict(metric="errors", answer=Answer.PASS, reason="of before", step=0, k=3)
    said = decide(story.rollout, [old], Progress(candidate_requests=10**6), story.now + timedelta(days=1))
    assert said.choice is Choice.HOLD
    assert decide(story.rollout, [replace(old, step=1)], Progress(candidate_requests=1), story.now).choice is (
        Choice.PROMOTE
    )
