"""Rollouts in every phase, and the facts that come next: examples for tests of the state machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from functools import reduce

from sluicegate.registry.rollout.facts import (
    Aborted,
    Approved,
    Assessed,
    AssessmentOverridden,
    Baked,
    Begun,
    Checked,
    Concluded,
    Confirmed,
    Entry,
    Established,
    Fact,
    Failed,
    FreezeOverridden,
    Frozen,
    Guarded,
    HookCalled,
    Judged,
    Jumped,
    Observed,
    Packed,
    Paused,
    Promoted,
    Ready,
    Requested,
    Resumed,
    Scaled,
    Settled,
    StepEntered,
    Superseded,
    Unconfirmed,
    Undeployed,
)
from sluicegate.registry.rollout.moves import advance, begin
from sluicegate.registry.rollout.rollout import Phase, Rollout

_AT = datetime(2026, 1, 1, tzinfo=UTC)
_REQUESTED = Requested(
    model="delays", variation="default", version="2", strategy="canary", plan_digest="", actor="ada", cause="cli",
    plan={"model": "delays", "steps": [{"weight": 10, "check": {"deployment": "smoke/nightly"}}, {"weight": 50}]},
)  # fmt: skip
_CHECKED_FIRST = replace(_REQUESTED, plan=_REQUESTED.plan | {"check": {"deployment": "smoke/first"}})
_LATE = replace(_REQUESTED, plan=_REQUESTED.plan | {
    "metrics": {"repaid": {"source": "outcome", "outcome": "repaid", "score": "zero_one", "matures_after": "30d"}},
    "retention": "60d", "confirm": {"metric": "repaid", "margin": "5%", "max_time": "60d"},
})  # fmt: skip
_PACKED = Packed(bento="delays:v2", bento_digest="b", model_digest="m")
_FIRST = StepEntered(step=0, weight=1_000, actor="ada", reason="because")
_PAUSED = Paused(actor="ada", reason="because")
_PROMOTED = Promoted(actor="ada", reason="because", override=True, verdicts={})
_GUARDED = Guarded(protected=True, actor="ada", reason="because")
_JUMPED_ON = Jumped(step=1, weight=5_000, former=0, actor="ada", reason="because")
_JUMPED_BACK = Jumped(step=0, weight=1_000, former=1, actor="ada", reason="because")
_LAUNCHED = (_REQUESTED, Begun(stable="1"), _PACKED, Ready(version="2"))


def examples(phase: Phase) -> tuple[Rollout, ...]:
    """Rollouts that have reached a phase, in each of the ways that matter."""
    ways: dict[Phase, tuple[tuple[Fact, ...], ...]] = {
        Phase.QUEUED: ((_REQUESTED,),),
        Phase.LAUNCHING: (
            _LAUNCHED,
            (_REQUESTED, Begun(stable=None), *_LAUNCHED[2:]),
            (_CHECKED_FIRST, *_LAUNCHED[1:]),
            (*_LAUNCHED, _GUARDED),
            (_LATE, *_LAUNCHED[1:]),
        ),
        Phase.RUNNING: ((*_LAUNCHED, _FIRST), (_LATE, *_LAUNCHED[1:], _FIRST)),
        Phase.PAUSED: (
            (*_LAUNCHED, _FIRST, _PAUSED),
            (*_LAUNCHED, _PAUSED),
            (_LATE, *_LAUNCHED[1:], _FIRST, _PAUSED),
            (*_LAUNCHED, _FIRST, _JUMPED_ON, _PAUSED),
        ),
        Phase.CONFIRMING: ((_LATE, *_LAUNCHED[1:], _FIRST, _PROMOTED),),
        Phase.BAKING: ((*_LAUNCHED, _FIRST, _PROMOTED),),
        Phase.ENDED: (
            (*_LAUNCHED, _FIRST, Aborted(actor="ada", reason="because")),
            (*_LAUNCHED, _FIRST, _PROMOTED, Baked(reason="because")),
            (_LATE, *_LAUNCHED[1:], _FIRST, _PROMOTED, Confirmed(reason="because"), Baked(reason="because")),
        ),
    }
    return tuple(_folded(*facts) for facts in ways[phase])


def example_fact(kind: type[Fact], rollout: Rollout) -> Fact:
    """A fact of this kind that would come next in a rollout, if its phase admits the kind."""
    steps = rollout.plan.steps
    step = rollout.step + 1
    facts: tuple[Fact, ...] = (
        _REQUESTED,
        _GUARDED,
        Begun(stable="1"),
        Assessed(gate="val_auc", answer="pass", reason="because", candidate=0.9, stable=0.9),
        AssessmentOverridden(actor="ada", reason="because"),
        _PACKED,
        Ready(version="2"),
        Frozen(metric="p99", threshold=0.25, rows=1_000),
        StepEntered(step=step, weight=steps[min(step, len(steps) - 1)].weight, actor="ada", reason="because"),
        _JUMPED_BACK if rollout.step == 1 else _JUMPED_ON,
        Observed(epoch=rollout.epoch, version="v"),
        Judged(metric="errors", answer="pass", k=1, step=rollout.step, reason="because"),
        Paused(actor="ada", reason="because"),
        Resumed(actor="ada", reason="because"),
        Approved(
            step=rollout.step if rollout.guarded else max(rollout.step, 0), actor="ada", person="ada", reason="because"
        ),
        Checked(
            step=rollout.step if rollout.check else max(rollout.step, 0),
            answer="yes",
            actor="smoke/nightly",
            reason="because",
        ),
        FreezeOverridden(actor="ada", reason="because", freeze="weekend", until="2026-01-04T00:00:00+00:00"),
        Promoted(override=True, verdicts={}, actor="ada", reason="because"),
        Confirmed(reason="because"),
        Unconfirmed(actor="ada", reason="because"),
        Baked(reason="because"),
        Established(actor="ada", reason="because"),
        Aborted(actor="ada", reason="because"),
        Failed(stage="pack", reason="because"),
        Superseded(by="r2"),
        Concluded(actor="ada", reason="because"),
        Undeployed(actor="ada", reason="because"),
        Scaled(replicas=3, actor="ada", reason="because"),
        Settled(changes=()),
        HookCalled(after="abort", position=0, attempt=1, answer="taken", actor="ops/page", reason="because"),
    )
    return next(fact for fact in facts if type(fact) is kind)


def fold(entries: Iterable[Entry]) -> Rollout:
    """The state that results from a rollout's facts."""
    first, *others = entries
    return reduce(advance, others, begin(first))


def _folded(*facts: Fact) -> Rollout:
    return fold(Entry(rollout="r1", seq=seq, at=_AT, fact=fact) for seq, fact in enumerate(facts))
