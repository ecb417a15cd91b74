"""The timeline of a rollout: every fact as a sentence, with who caused it, why, and its effect on the weight. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sluicegate.registry.report.door import door
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
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words import figures
from sluicegate.registry.words.metric import capped_metric
from sluicegate.registry.words.units import FULL, format_weight
from sluicegate.registry.words.verdict import Answer


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One fact, worded for people."""

    seq: int
    at: datetime
    fact: str
    """The fact's name."""
    text: str
    """What happened."""
    actor: str
    """Who or what did it."""
    why: str
    """The fact's reason or cause."""
    before: float
    """The candidate's weight before it, in per cent."""
    after: float
    """The desired weight after it."""
    tone: str
    """How a reader should take it: good, bad, wait or plain."""


def timeline(entries: Sequence[Entry]) -> tuple[Moment, ...]:
    """Every fact in order."""
    moments: list[Moment] = []
    state: Rollout | None = None
    for entry in entries:
        before = state.weight if state else 0
        state = advance(state, entry) if state else begin(entry)
        moments.append(moment(entry, before, state.weight, is_shadow=state.is_shadow))
    return tuple(moments)


def moment(entry: Entry, before: int, after: int, *, is_shadow: bool) -> Moment:
    """One fact with the weights before and after it, in basis points."""
    text, tone = _sentence(entry.fact, after)
    if is_shadow and isinstance(entry.fact, StepEntered):
        text = f"{text} are copied"
    return Moment(
        seq=entry.seq,
        at=entry.at,
        fact=type(entry.fact).__name__,
        text=text,
        actor=_actor(entry.fact),
        why=_why(entry.fact),
        before=before / 100,
        after=after / 100,
        tone=tone,
    )


def _actor(fact: Fact) -> str:
    match fact:
        case Begun() | Settled() | Packed() | Failed():
            return "driver"
        case Ready() | Observed() | Baked():
            return "keeper"
        case Judged() | Frozen() | Assessed():
            return "gate"
        case Superseded(by=by):
            return by
        case Confirmed():
            return "policy"
        case _:
            return fact.actor


def _why(fact: Fact) -> str:
    match fact:
        case Requested(cause=cause):
            return f"requested {door(cause)}"
        case _:
            return str(getattr(fact, "reason", ""))


def _sentence(fact: Fact, weight: int) -> tuple[str, str]:
    """What happened, as a sentence, and its tone. `weight` is the candidate's after the fact."""
    match fact:
        case Requested(model=model, version=version, variation=variation, strategy=strategy):
            return (
                f"{_STRATEGIES.get(strategy, strategy)} of {model} v{version} requested for variation {variation}",
                "plain",
            )
        case Guarded(protected=protected):
            is_guarded = "what it changes is protected: a second named person must approve it"
            return (is_guarded, "plain") if protected else ("what it changes is not protected any more", "wait")
        case Begun(stable=None):
            return "started; the variation has no stable build yet", "plain"
        case Begun(stable=stable):
            return f"started; stable is v{stable}", "plain"
        case Assessed(gate=gate, answer=answer):
            return f"{gate} {_ANSWERS[Answer(answer)]} before the first request", _TONES[Answer(answer)]
        case AssessmentOverridden():
            return "the checks before the first request were overridden", "wait"
        case Packed(bento=bento):
            return f"packed as {bento}", "plain"
        case Ready(version=version):
            return f"v{version} is running and passed its readiness checks", "plain"
        case Frozen(metric=metric, threshold=threshold, rows=rows):
            capped = capped_metric(metric)
            what, whose = (f"threshold of {metric}", "requests") if capped is None else (f"cap of {capped}", "values")
            source = f"from {rows:,} {whose} of stable" if rows else "by the plan"
            return f"{what} fixed at {figures.number(threshold)} {source}", "plain"
        case StepEntered(step=step, weight=entered):
            return f"step {step + 1} began: {format_weight(entered)} % of requests", "going"
        case Jumped(step=step, weight=entered, former=former) if step > former:
            left = f"step {former + 1}" if step == former + 1 else f"steps {former + 1} to {step}"
            what = f"jumped from step {former + 1} to step {step + 1}: {format_weight(entered)} % of requests"
            return f"{what}; the gates, checks and approvals of {left} were skipped", "wait"
        case Jumped(step=step, weight=entered, former=former):
            return (
                f"jumped back from step {former + 1} to step {step + 1}: {format_weight(entered)} % of requests",
                "wait",
            )
        case Observed(epoch=epoch):
            return f"Envoy applied the weight (change {epoch})", "plain"
        case Judged(metric=metric, answer=answer, step=step):
            return f"{metric} {_ANSWERS[Answer(answer)]} at step {step + 1}", _TONES[Answer(answer)]
        case Paused():
            return "paused; the weight stays, and guardrails still run", "wait"
        case Resumed(overrides=overrides) if overrides:
            return f"resumed: the failure of {', '.join(overrides)} is overridden; later requests are judged", "wait"
        case Resumed():
            return "resumed", "plain"
        case Approved(step=-1):
            return "the first request approved", "good"
        case Approved(step=step):
            return f"step {step + 1} approved", "good"
        case Checked(step=step, answer=answer, actor=actor):
            answered = "gave no answer" if answer == "none" else f"said {answer}"
            place = f"of step {step + 1}" if step >= 0 else "before the first step"
            return f"the check {actor} {place} {answered}", "good" if answer == "yes" else "wait"
        case FreezeOverridden(freeze=freeze, until=until):
            return f"freeze {freeze} overridden for this rollout until {until[:16].replace('T', ' ')} UTC", "wait"
        case Confirmed():
            return "confirmed: late labels have ruled the harm out, and the holdout ends", "good"
        case Unconfirmed():
            return "not confirmed: the holdout ends, and the candidate keeps all traffic", "wait"
        case Promoted(override=override):
            rest = f"{format_weight(weight)} %; the rest stays with the former stable until it is confirmed"
            takes = "all traffic" if weight in (0, FULL) else rest
            return f"promoted{' by override' if override else ''}: the candidate takes {takes}", "good"
        case Baked():
            return "the bake is over; the former stable build may stop", "plain"
        case Established():
            return "the first build takes all traffic", "good"
        case Aborted():
            return "aborted: all requests go back to stable", "bad"
        case Failed(stage=stage):
            return f"failed to {stage}", "bad"
        case Superseded(by=by):
            return f"superseded by {by}", "plain"
        case Concluded():
            return "concluded; the stable build stays the same", "plain"
        case Undeployed():
            return "undeployed: the variation is empty", "wait"
        case Scaled(replicas=replicas):
            return f"scaled to {replicas} replica{'s' if replicas > 1 else ''}", "plain"
        case HookCalled(after=after, attempt=attempt, answer=answer, actor=actor):
            result = {"taken": "was notified", "failed": "could not be notified"}.get(
                answer, "could not be notified; no further attempt"
            )
            return f"hook after {after}: {actor} {result} (attempt {attempt})", "good" if answer == "taken" else "wait"
        case Settled(changes=changes):
            return "written to MLflow: " + ("; ".join(changes) or "nothing to change"), "plain"


_STRATEGIES = {"ab": "A/B test", "deploy": "first build", "replace": "replacement"}
_ANSWERS = {
    Answer.PASS: "passed", Answer.FAIL: "failed", Answer.UNDECIDED: "is undecided", Answer.NO_DATA: "has no data",
}  # fmt: skip
_TONES = {Answer.PASS: "good", Answer.FAIL: "bad", Answer.UNDECIDED: "plain", Answer.NO_DATA: "plain"}
