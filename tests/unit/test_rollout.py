"""The rollout's state machine: the whole (phase x fact) table, the terms of each move, and what a fold keeps."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.registry.rollout.facts import (
    FACTS,
    Aborted,
    Approved,
    Baked,
    Begun,
    Concluded,
    Entry,
    Established,
    Fact,
    Failed,
    Frozen,
    Judged,
    Observed,
    Packed,
    Paused,
    Promoted,
    Ready,
    Requested,
    Resumed,
    Settled,
    StepEntered,
    Superseded,
)
from sluicegate.registry.rollout.moves import admits, advance, begin
from sluicegate.registry.rollout.rollout import Ending, Phase, Rollout
from sluicegate.registry.words.errors import IllegalMove
from sluicegate.registry.words.units import FULL
from tests.unit import rollouts

AT = datetime(2026, 11, 22, tzinfo=UTC)
GATED = {
    "model": "delays",
    "metrics": {"errors": {"source": "status"}, "p99": {"source": "latency", "quantile": 0.99}},
    "gates": [{"metric": "errors", "margin": "5%"}, {"metric": "p99", "margin": "20%"}],
    "steps": [{"weight": 10}, {"weight": 50}],
}

TABLE: dict[str, str] = {
    #               queued     launching        running  paused             confirming  baking  ended
    "Requested":   "-          -                -        -                  -           -       -",
    "Guarded":     "queued     launching        running  paused             -           -       -",
    "Begun":       "launching  -                -        -                  -           -       -",
    "Assessed":    "-          launching        -        paused             -           -       -",
    "AssessmentOverridden": "queued launching   -        paused             -           -       -",
    "Packed":      "-          launching        -        paused             -           -       -",
    "Ready":       "-          launching        -        paused             -           -       -",
    "Frozen":      "-          launching        running  paused             confirming  -       -",
    "StepEntered": "-          running          running  -                  -           -       -",
    "Jumped":      "-          -                running  paused             -           -       -",
    "Observed":    "-          -                running  paused             confirming  baking  ended",
    "Judged":      "-          -                running  paused             confirming  -       -",
    "Paused":      "-          paused           paused   -                  -           -       -",
    "Resumed":     "-          -                -        running|launching  -           -       -",
    "Approved":    "-          launching         running  paused             -           -       -",
    "Checked":     "-          launching        running  paused             -           -       -",
    "FreezeOverridden": "queued launching       running  paused             -           -       -",
    "Promoted": "-      confirming|baking confirming|baking confirming|baking -      -       -",
    "Confirmed":   "-          -                -        -                  baking      -       -",
    "Unconfirmed": "-          -                -        -                  baking      -       -",
    "Baked":       "-          -                -        -                  -           ended   -",
    "Established": "-          ended            -        -                  -           -       -",
    "Aborted":     "ended      ended            ended    ended              ended       ended   -",
    "Failed":      "-          ended            -        ended              -           -       -",
    "Superseded":  "ended      ended            ended    ended              -           -       -",
    "Concluded":   "-          -                ended    ended              -           -       -",
    "Undeployed":  "-          -                -        -                  -           -       ended",
    "Scaled":      "-          -                -        -                  confirming  baking  ended",
    "Settled":     "-          -                -        -                  confirming  baking  ended",
    "HookCalled":  "-          -                -        -                  confirming  baking  ended",
}  # fmt: skip
"""What each phase makes of each fact; - is a refusal. Written by hand: the specification."""


def cell(phase: Phase, name: str) -> set[str]:
    return set(TABLE[name].split()[list(Phase).index(phase)].split("|")) - {"-"}


def after(rollout: Rollout, *facts: Fact, seconds: float = 1) -> Rollout:
    """The rollout after more facts, one each `seconds`."""
    for fact in facts:
        at = AT + timedelta(seconds=seconds * (rollout.seq + 1))
        rollout = advance(rollout, Entry(rollout=rollout.id, seq=rollout.seq + 1, at=at, fact=fact))
    return rollout


def requested(plan: dict[str, object] | None = None, strategy: str = "canary") -> Rollout:
    document = plan or {"model": "delays", "steps": [{"weight": 10}, {"weight": 50}]}
    fact = Requested(
        model="delays",
        variation="default",
        version="2",
        strategy=strategy,
        plan=document,
        plan_digest="",
        actor="ada",
        cause="cli",
    )
    return begin(Entry(rollout="r1", seq=0, at=AT, fact=fact))


PACKED = Packed(bento="b", bento_digest="b", model_digest="m")
LAUNCHED: tuple[Fact, ...] = (Begun(stable="1"), PACKED, Ready(version="2"))
FIRST = StepEntered(step=0, weight=1_000, actor="policy", reason="ready")
SECOND = StepEntered(step=1, weight=5_000, actor="policy", reason="passed")
PAUSED = Paused(actor="ada", reason="lunch")
RESUMED = Resumed(actor="ada", reason="back")
ABORTED = Aborted(actor="ada", reason="enough")


def promoted(*, override: bool = True, actor: str = "ada", **verdicts: str) -> Promoted:
    return Promoted(actor=actor, reason="good", override=override, verdicts=verdicts)


# --- the table -------------------------------------------------------------------------------------------------------


def test_the_table_is_total() -> None:
    assert list(TABLE) == [kind.__name__ for kind in get_args(Fact)]
    assert {len(row.split()) for row in TABLE.values()} == {len(Phase)}


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("phase", Phase)
def test_every_pair_is_a_move_or_a_named_refusal(phase: Phase, name: str) -> None:
    kind = FACTS[name]
    assert admits(phase, kind) == bool(cell(phase, name))
    seen, refusals = set(), []
    for rollout in rollouts.examples(phase):
        try:
            seen.add(after(rollout, rollouts.example_fact(kind, rollout)).phase.value)
        except IllegalMove as refusal:
            refusals.append(str(refusal))
    assert seen == cell(phase, name)
    if not seen:
        assert all(word in refusal for word in ("r1", name, phase.value) for refusal in refusals)


# --- terms of single moves -------------------------------------------------------------------------------------------


def test_a_fold_starts_with_requested() -> None:
    with pytest.raises(IllegalMove, match="does not start with Requested"):
        begin(Entry(rollout="r1", seq=0, at=AT, fact=ABORTED))
    with pytest.raises(IllegalMove, match="does not start with Requested"):
        begin(Entry(rollout="r1", seq=1, at=AT, fact=requested().requested))


@pytest.mark.parametrize("seq", [-1, 0, 2])
def test_a_gap_in_the_facts_is_seen(seq: int) -> None:
    with pytest.raises(IllegalMove, match="cannot be next"):
        advance(requested(), Entry(rollout="r1", seq=seq, at=AT, fact=Begun(stable="1")))


def test_no_weight_before_the_candidate_is_ready() -> None:
    packed = after(requested(), Begun(stable="1"), PACKED)
    for fact in (FIRST, promoted(), Established(actor="a", reason="")):
        with pytest.raises(IllegalMove, match="needs a candidate that has become ready"):
            after(packed, fact)
    with pytest.raises(IllegalMove, match="a build must be packed before it is ready"):
        after(requested(), Begun(stable="1"), Ready(version="2"))


def test_no_step_without_a_stable() -> None:
    with pytest.raises(IllegalMove, match="splits traffic between candidate and stable"):
        after(requested(), Begun(stable=None), PACKED, Ready(version="2"), FIRST)


@pytest.mark.parametrize(("step", "weight"), [(1, 5_000), (2, 9_000), (-1, 1_000), (0, 999), (0, FULL), (0, 0)])
def test_steps_are_entered_in_order_at_the_plans_weight(step: int, weight: int) -> None:
    with pytest.raises(IllegalMove):
        after(requested(), *LAUNCHED, replace(FIRST, step=step, weight=weight))


def test_there_is_no_step_after_the_last() -> None:
    with pytest.raises(IllegalMove, match="is at step 2: it cannot enter step 3"):
        after(requested(), *LAUNCHED, FIRST, SECOND, replace(SECOND, step=2, weight=9_000))


@pytest.mark.parametrize("step", [-1, 1, 7])
def test_only_the_step_under_way_is_approved(step: int) -> None:
    with pytest.raises(IllegalMove, match="cannot be approved"):
        after(requested(), *LAUNCHED, FIRST, Approved(step=step, actor="ada", reason=""))
    with pytest.raises(IllegalMove, match="cannot be approved"):
        after(requested(), *LAUNCHED, PAUSED, Approved(step=-1, actor="ada", reason=""))


def test_an_approval_is_of_its_step_and_by_somebody() -> None:
    state = after(requested(), *LAUNCHED, FIRST, Approved(step=0, actor="ada", reason=""), SECOND)
    assert state.approvals == {0: "ada"}


@pytest.mark.parametrize(
    "verdicts",
    [
        {},
        {"errors": "pass"},
        {"errors": "pass", "p99": "undecided"},
        {"errors": "pass", "p99": "no_data"},
        {"errors": "pass", "p99": "fail"},
        {"errors": "pass", "other": "pass"},
        {"errors": "PASS", "p99": "PASS"},
    ],
)
def test_nothing_is_promoted_without_a_pass_of_every_gate(verdicts: dict[str, str]) -> None:
    passed = [judged(metric, step=1) for metric in ("errors", "p99")]
    state = after(requested(GATED), *LAUNCHED, FIRST, SECOND, *passed)
    with pytest.raises(IllegalMove, match="every gate must pass at the last step"):
        after(state, promoted(override=False, **verdicts))
    assert after(state, promoted(override=False, errors="pass", p99="pass")).phase is Phase.BAKING


@pytest.mark.parametrize(
    "recorded",
    [
        (),
        (("errors", "pass", 1),),
        (("errors", "pass", 1), ("p99", "undecided", 1)),
        (("errors", "pass", 1), ("p99", "fail", 1)),
        (("errors", "pass", 1), ("p99", "pass", 0)),
    ],
)
def test_a_promotion_that_only_says_that_all_passed_is_refused(recorded: tuple[tuple[str, str, int], ...]) -> None:
    facts = [judged(metric, answer=answer, step=step) for metric, answer, step in recorded]
    before, at_last = [fact for fact in facts if fact.step == 0], [fact for fact in facts if fact.step == 1]
    state = after(requested(GATED), *LAUNCHED, FIRST, *before, SECOND, *at_last)
    with pytest.raises(IllegalMove, match="every gate must pass at the last step"):
        after(state, promoted(override=False, errors="pass", p99="pass"))


def judged(metric: str, *, step: int, answer: str = "pass") -> Judged:
    return Judged(metric=metric, answer=answer, k=1, step=step, reason="judged")


def test_policy_promotes_at_the_last_step_only() -> None:
    both = promoted(override=False, errors="pass", p99="pass")
    passed = [judged(metric, step=0) for metric in ("errors", "p99")]
    for facts in ((), (FIRST, *passed), (FIRST, PAUSED, *passed)):
        with pytest.raises(IllegalMove, match="at the last step"):
            after(requested(GATED), *LAUNCHED, *facts, both)


def test_a_plan_without_gates_is_promoted_by_a_person_only() -> None:
    state = after(requested(), *LAUNCHED, FIRST, SECOND)
    for verdicts in ({}, {"errors": "pass"}):
        with pytest.raises(IllegalMove, match="a person must override it"):
            after(state, promoted(override=False, **verdicts))
    with pytest.raises(IllegalMove, match="name of the person who gives it"):
        after(state, promoted(actor=""))
    assert after(state, promoted()).actor == "ada"


def test_only_an_empty_variation_is_established() -> None:
    with pytest.raises(IllegalMove, match="only an empty variation"):
        after(requested(), *LAUNCHED, Established(actor="ada", reason="first"))
    first = after(requested(strategy="deploy"), Begun(stable=None), *LAUNCHED[1:], Established(actor="ada", reason="x"))
    assert (first.phase, first.ending, first.weight) == (Phase.ENDED, Ending.ESTABLISHED, FULL)
    assert first.took_over


def test_only_the_epoch_that_was_asked_for_is_observed() -> None:
    state = after(requested(), *LAUNCHED, FIRST)
    for epoch in (0, 2, -1):
        with pytest.raises(IllegalMove, match="cannot have been applied"):
            after(state, Observed(epoch=epoch, version="v"))


# --- what follows ----------------------------------------------------------------------------------------------------


def test_each_weight_is_an_epoch_and_counts_from_when_it_is_seen() -> None:
    state = after(requested(), *LAUNCHED, FIRST)
    assert (state.weight, state.epoch, state.observed_epoch, state.step_observed_at) == (1_000, 1, 0, None)
    seen = after(state, Observed(epoch=1, version="v"))
    assert (seen.observed_epoch, seen.step_observed_at) == (1, AT + timedelta(seconds=5))
    again = after(seen, Observed(epoch=1, version="w"))
    assert again.step_observed_at == seen.step_observed_at
    nxt = after(again, SECOND)
    assert (nxt.weight, nxt.epoch, nxt.step_observed_at) == (5_000, 2, None)


def test_an_epoch_begins_with_the_fact_that_changes_it_and_no_other() -> None:
    state, began = requested(), [AT]
    facts = (
        *LAUNCHED, FIRST, Observed(epoch=1, version="v"), judged("errors", step=0), PAUSED, RESUMED, SECOND,
        ABORTED, Settled(changes=()), Observed(epoch=3, version="w"),
    )  # fmt: skip
    for fact in facts:
        before, state = state, after(state, fact)
        at = AT + timedelta(seconds=state.seq)
        began.append(at if state.epoch != before.epoch else began[-1])
        assert state.epoch_began_at == began[-1], fact
    assert len(set(began)) == 4


def test_a_step_of_the_same_weight_is_served_already() -> None:
    plan = {"model": "m", "strategy": "shadow", "steps": [{"weight": 10}, {"weight": 10}]}
    state = after(requested(plan), *LAUNCHED, FIRST, Observed(epoch=1, version="v"))
    same = after(state, replace(SECOND, weight=1_000))
    assert (same.epoch, same.observed_epoch, same.step_observed_at) == (1, 1, same.step_entered_at)
    unseen = after(requested(plan), *LAUNCHED, FIRST, replace(SECOND, weight=1_000))
    assert unseen.step_observed_at is None


@pytest.mark.parametrize(
    "fact", [ABORTED, Superseded(by="r2"), Concluded(actor="ada", reason="read out")], ids=lambda f: type(f).__name__
)
def test_every_end_without_promotion_takes_all_weight_back(fact: Fact) -> None:
    state = after(requested(), *LAUNCHED, FIRST, Observed(epoch=1, version="v"), fact)
    assert (state.phase, state.weight, state.epoch) == (Phase.ENDED, 0, 2)
    assert not state.took_over
    assert after(state, Observed(epoch=2, version="w")).observed_epoch == 2


def test_a_failed_launch_asks_for_no_new_weight() -> None:
    state = after(requested(), Begun(stable="1"), Failed(stage="pack", reason="no space"))
    assert (state.ending, state.weight, state.epoch, state.reason) == (Ending.FAILED, 0, 0, "pack: no space")


def test_an_abort_while_baking_gives_trust_back_and_tells_the_catalog_anew() -> None:
    baking = after(requested(), *LAUNCHED, FIRST, promoted(), Settled(changes=("alias",)))
    assert baking.took_over
    assert baking.settled
    aborted = after(baking, ABORTED)
    assert (aborted.weight, aborted.took_over, aborted.settled) == (0, False, False)
    assert after(aborted, Settled(changes=())).settled


def test_a_settled_promotion_stays_settled_when_it_has_baked() -> None:
    done = after(requested(), *LAUNCHED, FIRST, promoted(), Settled(changes=()), Baked(reason="30m"))
    assert (done.ending, done.settled, done.weight, done.took_over) == (Ending.PROMOTED, True, FULL, True)
    with pytest.raises(IllegalMove, match="has been written to MLflow already"):
        after(done, Settled(changes=()))


def test_a_pause_keeps_the_weight_and_a_resume_goes_on_where_it_was() -> None:
    running = after(requested(), *LAUNCHED, FIRST)
    paused = after(running, PAUSED)
    assert (paused.weight, paused.step, paused.reason, paused.is_tried) == (1_000, 0, "lunch", True)
    resumed = after(paused, RESUMED)
    assert (resumed.phase, resumed.resumed_at) == (Phase.RUNNING, AT + timedelta(seconds=6))
    assert after(requested(), *LAUNCHED, PAUSED, RESUMED).phase is Phase.LAUNCHING


def test_who_holds_a_target() -> None:
    holding = {phase: {rollout.holds_target for rollout in rollouts.examples(phase)} for phase in Phase}
    assert {phase for phase, held in holding.items() if held == {True}} == set(Phase) - {Phase.QUEUED, Phase.ENDED}
    assert holding[Phase.QUEUED] == holding[Phase.ENDED] == {False}


def test_thresholds_and_judgements_are_kept_by_metric() -> None:
    facts = [
        Frozen(metric="p99", threshold=0.25, rows=900),
        FIRST,
        Judged(metric="errors", answer="undecided", k=1, step=0, reason="few"),
        Judged(metric="errors", answer="pass", k=4, step=0, reason="ruled out"),
    ]
    state = after(requested(), *LAUNCHED, *facts)
    assert state.thresholds == {"p99": 0.25}
    assert (state.judgements["errors"].answer, state.judgements["errors"].k) == ("pass", 4)


# --- any sequence ----------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(sorted(FACTS)), max_size=40))
def test_no_sequence_of_facts_breaks_the_invariants(names: list[str]) -> None:
    state = requested()
    for name in names:
        try:
            state = after(state, rollouts.example_fact(FACTS[name], state))
        except (IllegalMove, IndexError):
            continue
        assert 0 <= state.weight <= FULL
        assert state.observed_epoch <= state.epoch
        assert state.weight == 0 or state.ready
        assert (state.weight == FULL) == state.took_over
        assert (state.ending is not None) == state.is_ended
        if state.is_ended and not state.took_over:
            assert state.weight == 0


@given(st.lists(st.sampled_from(sorted(FACTS)), max_size=40))
def test_an_end_is_absorbing(names: list[str]) -> None:
    state = after(requested(), *LAUNCHED, FIRST, ABORTED)
    for name in names:
        try:
            state = after(state, rollouts.example_fact(FACTS[name], state))
        except IllegalMove:
            continue
    assert (state.phase, state.ending, state.weight) == (Phase.ENDED, Ending.ABORTED, 0)
