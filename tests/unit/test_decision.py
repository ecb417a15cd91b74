"""decide(): each branch by table, and over everything Hypothesis can think of, what must never be chosen."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.decision import Choice, Decision, Progress, decide
from sluicegate.registry.rollout.facts import Requested
from sluicegate.registry.rollout.rollout import Phase, Reply, Rollout
from sluicegate.registry.words.units import FULL
from sluicegate.registry.words.verdict import Answer, Verdict

AT = datetime(2026, 11, 22, tzinfo=UTC)
PLAN: dict[str, Any] = {
    "model": "delays",
    "metrics": {"errors": {"source": "status"}, "p99": {"source": "latency", "quantile": 0.99}},
    "gates": [{"metric": "errors", "margin": "50%"}],
    "guardrails": [{"metric": "p99", "alpha": 0.01}],
    "steps": [{"weight": 10, "min_requests": 100, "soak": "10m", "max_time": "2h"}, {"weight": 50, "approval": True}],
    "deadline": {"after": "1d"},
}


def running(plan: dict[str, Any] | None = None, *, step: int = 0, **state: Any) -> Rollout:
    """A rollout whose step has been served for an hour."""
    document = Plan.model_validate(plan or PLAN).document()
    requested = Requested(
        model="delays",
        variation="default",
        version="2",
        strategy="canary",
        plan=document,
        plan_digest="",
        actor="ada",
        cause="cli",
    )
    begun = Rollout(
        id="r1",
        seq=9,
        requested=requested,
        requested_at=AT,
        epoch_began_at=AT,
        began_at=AT,
        phase=Phase.RUNNING,
        stable="1",
        ready=True,
        step=step,
        weight=(1_000, 5_000)[step],
        epoch=step + 1,
        observed_epoch=step + 1,
        step_entered_at=AT,
        step_observed_at=AT,
    )
    return replace(begun, **state)


def verdict(metric: str = "errors", answer: Answer = Answer.PASS, **more: Any) -> Verdict:
    return replace(Verdict(metric=metric, answer=answer, reason="so it is", step=0, k=1), **more)


P99 = verdict("p99", Answer.UNDECIDED, guardrail=True)


def choose(
    rollout: Rollout, *verdicts: Verdict, requests: int = 1_000, after: timedelta = timedelta(hours=1)
) -> Decision:
    return decide(rollout, verdicts, Progress(candidate_requests=requests), AT + after)


def test_every_gate_passed_advances() -> None:
    decision = choose(running(), verdict(), P99)
    assert (decision.choice, decision.reason) == (Choice.ADVANCE, "every gate passed at 10 %")


def test_the_last_step_promotes() -> None:
    last = running(step=1, approvals={1: "ada"})
    decision = choose(last, verdict(step=1), replace(P99, step=1))
    assert (decision.choice, decision.reason) == (Choice.PROMOTE, "every gate passed at the last step, 50 %")


@pytest.mark.parametrize("phase", [Phase.RUNNING, Phase.PAUSED, Phase.LAUNCHING])
@pytest.mark.parametrize("guardrail", [False, True])
def test_a_failing_verdict_aborts_in_every_phase(phase: Phase, guardrail: bool) -> None:
    bad = verdict("p99", Answer.FAIL, guardrail=guardrail)
    decision = choose(running(phase=phase), verdict(), bad)
    assert (decision.choice, decision.reason) == (Choice.ABORT, "p99 failed: so it is")


def test_a_failing_verdict_comes_before_the_deadline_and_before_the_data_plane() -> None:
    bad = verdict(answer=Answer.FAIL)
    assert choose(running(), bad, after=timedelta(days=9)).choice is Choice.ABORT
    assert choose(running(observed_epoch=0), bad).choice is Choice.ABORT


def test_a_verdict_of_an_earlier_step_that_failed_still_aborts() -> None:
    assert choose(running(step=1), verdict(answer=Answer.FAIL, step=0)).choice is Choice.ABORT


@pytest.mark.parametrize("phase", [Phase.PAUSED, Phase.QUEUED, Phase.LAUNCHING, Phase.BAKING, Phase.ENDED])
def test_nothing_moves_on_but_what_is_running(phase: Phase) -> None:
    decision = choose(running(phase=phase, reason="lunch"), verdict(), P99, after=timedelta(days=9))
    assert (decision.choice, decision.reason) == (Choice.HOLD, f"{phase}: lunch")


@pytest.mark.parametrize(
    ("verdicts", "reason"),
    [
        ((verdict(answer=Answer.UNDECIDED),), "errors must still pass: so it is"),
        ((verdict(answer=Answer.NO_DATA),), "errors must still pass: so it is"),
        ((), "errors has not been judged at 10 % yet"),
        ((verdict(guardrail=True),), "errors has not been judged at 10 % yet"),
        ((verdict("other"),), "errors has not been judged at 10 % yet"),
        ((verdict(step=7),), "errors has not been judged at 10 % yet"),
        ((verdict(step=-1),), "errors has not been judged at 10 % yet"),
    ],
)
def test_a_gate_that_has_not_passed_here_holds(verdicts: tuple[Verdict, ...], reason: str) -> None:
    decision = choose(running(), *verdicts, P99)
    assert (decision.choice, decision.reason) == (Choice.HOLD, reason)


def test_a_guardrail_holds_nothing_up() -> None:
    for answer in (Answer.UNDECIDED, Answer.NO_DATA, Answer.PASS):
        assert choose(running(), verdict(), replace(P99, answer=answer)).choice is Choice.ADVANCE


def test_too_few_requests_hold() -> None:
    assert choose(running(), verdict(), requests=99).reason == "99 of 100 candidate requests served at this step"
    assert choose(running(), verdict(), requests=100).choice is Choice.ADVANCE


def test_soaking_counts_from_when_the_weight_was_seen() -> None:
    late = running(step_observed_at=AT + timedelta(minutes=55))
    decision = choose(late, verdict())
    assert (decision.choice, decision.reason, decision.wait) == (
        Choice.HOLD, "soaking, 5m left", timedelta(minutes=5),
    )  # fmt: skip
    assert decision.is_long_wait
    assert choose(late, verdict(), after=timedelta(minutes=65)).choice is Choice.ADVANCE


@pytest.mark.parametrize("state", [{"observed_epoch": 0}, {"step_observed_at": None}])
def test_a_weight_that_was_not_seen_holds(state: dict[str, Any]) -> None:
    entered = running(**state | {"step_entered_at": AT})
    assert choose(entered, verdict(), after=timedelta(minutes=1)).reason == "waiting for the gateway to apply 10 %"
    late = choose(entered, verdict(), after=timedelta(seconds=61))
    assert late.choice is Choice.HOLD
    assert late.reason == (
        "the gateway has not applied 10 % yet, more than a minute after its weight was ordered; to find out why: "
        "sluice doctor"
    )
    resumed = replace(entered, epoch_began_at=AT + timedelta(seconds=61))
    again = choose(resumed, verdict(), after=timedelta(minutes=2))
    assert again.reason == "waiting for the gateway to apply 10 %", "a resume by an override is an epoch of its own"


def test_a_step_that_wants_a_person_waits_for_one() -> None:
    decision = choose(running(step=1), verdict(step=1))
    assert decision.choice is Choice.HOLD
    assert decision.person
    assert (
        decision.reason
        == "waiting for approval: the plan requires a person's approval at 50 %; sluice rollout approve r1"
    )
    assert choose(running(step=1, approvals={0: "ada"}), verdict(step=1)).choice is Choice.HOLD


def test_a_plan_without_gates_wants_a_person_at_every_step() -> None:
    plan = {"model": "delays", "steps": [{"weight": 10}, {"weight": 50}]}
    assert choose(running(plan)).reason.startswith("waiting for approval: no gate decides")
    assert choose(running(plan, approvals={0: "ada"})).choice is Choice.ADVANCE
    assert choose(running(plan, step=1, approvals={0: "ada"})).choice is Choice.HOLD
    assert choose(running(plan, step=1, approvals={1: "ada"})).choice is Choice.PROMOTE


@pytest.mark.parametrize(("then", "choice"), [("pause", Choice.PAUSE), ("abort", Choice.ABORT)])
def test_the_deadline_pauses_or_aborts_and_never_promotes(then: str, choice: Choice) -> None:
    plan = PLAN | {"deadline": {"after": "1d", "then": then}}
    before, after = timedelta(days=1, seconds=-1), timedelta(days=1)
    late = {"step_observed_at": AT + before, "step_entered_at": AT + before}
    assert choose(running(plan, **late), P99, after=before).choice is Choice.HOLD
    decision = choose(running(plan, **late), verdict(), P99, after=after)
    assert (decision.choice, decision.reason) == (choice, "the rollout was undecided when its deadline of 1d passed")


@pytest.mark.parametrize(("then", "choice"), [("abort", Choice.ABORT), ("pause", Choice.HOLD)])
def test_a_pause_does_not_outlast_a_deadline_that_aborts(then: str, choice: Choice) -> None:
    paused = running(PLAN | {"deadline": {"after": "1d", "then": then}}, phase=Phase.PAUSED, reason="over the weekend")
    assert choose(paused, verdict(), P99, after=timedelta(hours=23)).choice is Choice.HOLD
    assert choose(paused, verdict(), P99, after=timedelta(hours=25)).choice is choice
    resumed = replace(paused, resumed_at=AT + timedelta(hours=20))
    assert choose(resumed, verdict(), P99, after=timedelta(hours=25)).choice is Choice.HOLD, "a resume starts a new one"


CHECKED = PLAN | {"steps": [{"weight": 10, "check": {"deployment": "smoke/nightly"}, "approval": True}, {"weight": 50}]}


def replied(answer: str, *, minutes: int = 5) -> dict[int, Reply]:
    return {0: Reply(answer=answer, reason="so it says", at=AT + timedelta(minutes=minutes), times=1)}


def test_the_check_is_asked_after_everything_else_but_the_approval() -> None:
    asked = choose(running(CHECKED), verdict(), P99)
    assert (asked.choice, asked.asks, asked.is_long_wait) == (Choice.HOLD, True, False)
    assert not choose(running(CHECKED), verdict(answer=Answer.UNDECIDED), P99).asks
    answered = choose(running(CHECKED, replies=replied("yes")), verdict(), P99)
    assert (answered.choice, answered.person) == (Choice.HOLD, True)
    resumed = running(CHECKED, replies=replied("yes"), resumed_at=AT + timedelta(minutes=6))
    assert not choose(resumed, verdict(), P99).asks, "a yes stays a yes"
    approved = running(CHECKED, replies=replied("yes"), approvals={0: "ada"})
    assert choose(approved, verdict(), P99).choice is Choice.ADVANCE


@pytest.mark.parametrize(
    ("then", "answer", "choice"),
    [("pause", "no", Choice.PAUSE), ("abort", "no", Choice.ABORT), ("abort", "none", Choice.PAUSE)],
)
def test_a_no_pauses_or_aborts_and_no_answer_pauses(then: str, answer: str, choice: Choice) -> None:
    check = {"deployment": "smoke/nightly", "then": then}
    plan = PLAN | {"steps": [{"weight": 10, "check": check}, {"weight": 50}]}
    decision = choose(running(plan, replies=replied(answer)), verdict(), P99)
    assert decision.choice is choice
    assert "so it says" in decision.reason
    again = running(plan, replies=replied(answer), resumed_at=AT + timedelta(minutes=6))
    assert choose(again, verdict(), P99).asks


def test_the_deadline_leaves_out_the_time_in_the_queue() -> None:
    waited = running(began_at=AT + timedelta(days=5), step_observed_at=AT + timedelta(days=5))
    assert choose(waited, verdict(), after=timedelta(days=5, hours=1)).choice is Choice.ADVANCE


def test_a_step_that_takes_too_long_pauses() -> None:
    decision = choose(running(), verdict(answer=Answer.UNDECIDED), after=timedelta(hours=2))
    assert (decision.choice, decision.reason) == (Choice.PAUSE, "the step of 10 % took longer than its max_time of 2h")
    unseen = running(step_observed_at=None, observed_epoch=0)
    assert choose(unseen, after=timedelta(hours=2)).choice is Choice.PAUSE


def test_a_resume_gives_both_time_limits_anew() -> None:
    resumed = running(resumed_at=AT + timedelta(days=2))
    soon, later = timedelta(days=2, hours=1), timedelta(days=2, hours=2)
    assert choose(resumed, verdict(), after=soon).choice is Choice.ADVANCE
    assert choose(resumed, verdict(), after=later).choice is Choice.PAUSE


# --- whatever comes --------------------------------------------------------------------------------------------------

VERDICTS = st.lists(
    st.builds(
        Verdict,
        metric=st.sampled_from(["errors", "p99", "other"]),
        answer=st.sampled_from(Answer),
        reason=st.just("so"),
        step=st.integers(-1, 2),
        k=st.integers(0, 9),
        guardrail=st.booleans(),
    ),
    max_size=4,
)
TIMES = st.timedeltas(timedelta(days=-1), timedelta(days=400))
ROLLOUTS = st.builds(
    lambda step, changes, plan: running(plan, step=step, **changes),
    st.integers(0, 1),
    st.fixed_dictionaries(
        {},
        optional={
            "phase": st.sampled_from(Phase),
            "weight": st.integers(1, FULL),
            "observed_epoch": st.integers(0, 2),
            "step_observed_at": st.none() | TIMES.map(lambda t: AT + t),
            "resumed_at": st.none() | TIMES.map(lambda t: AT + t),
            "approvals": st.dictionaries(st.integers(0, 1), st.just("ada")),
        },
    ),
    st.sampled_from([PLAN, {"model": "delays", "steps": [{"weight": 10}, {"weight": 50}]}]),
)
MOVES = (Choice.ADVANCE, Choice.PROMOTE)


@given(ROLLOUTS, VERDICTS, st.integers(0, 10**6), TIMES)
def test_no_move_without_a_pass_of_every_gate_here_or_a_person(
    rollout: Rollout, verdicts: list[Verdict], requests: int, now: timedelta
) -> None:
    decision = decide(rollout, verdicts, Progress(candidate_requests=requests), AT + now)
    if decision.choice not in MOVES:
        return
    passed = {v.metric for v in verdicts if v.answer is Answer.PASS and not v.guardrail and v.step == rollout.step}
    gates = {gate.metric for gate in rollout.plan.gates}
    assert gates <= passed
    assert gates or rollout.step in rollout.approvals
    assert not any(v.answer is Answer.FAIL for v in verdicts)
    assert rollout.phase is Phase.RUNNING
    assert rollout.observed_epoch == rollout.epoch


@given(ROLLOUTS, VERDICTS, st.integers(0, 10**6), st.lists(TIMES, min_size=2, max_size=5))
def test_time_alone_only_ends_a_soak(
    rollout: Rollout, verdicts: list[Verdict], requests: int, times: list[timedelta]
) -> None:
    unsure = [v for v in verdicts if v.answer is not Answer.PASS or v.guardrail]
    approved = replace(rollout, approvals={})
    for now in times:
        assert decide(approved, unsure, Progress(candidate_requests=requests), AT + now).choice not in MOVES


@given(ROLLOUTS, VERDICTS, st.integers(0, 10**6), TIMES)
def test_any_failure_aborts(rollout: Rollout, verdicts: list[Verdict], requests: int, now: timedelta) -> None:
    failing = any(v.answer is Answer.FAIL for v in verdicts)
    decision = decide(rollout, verdicts, Progress(candidate_requests=requests), AT + now)
    assert not failing or decision.choice is Choice.ABORT


@given(ROLLOUTS, VERDICTS, st.integers(0, 10**6), TIMES)
def test_every_decision_says_why(rollout: Rollout, verdicts: list[Verdict], requests: int, now: timedelta) -> None:
    assert decide(rollout, verdicts, Progress(candidate_requests=requests), AT + now).reason
