"""Moves: the state machine. Which facts a rollout allows in which phase, and the state after each. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

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
    Party,
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
from sluicegate.registry.rollout.rollout import Ending, HookReply, Judgement, Phase, Reply, Rollout, Signature
from sluicegate.registry.words.errors import IllegalMove
from sluicegate.registry.words.units import FULL

_MOVES: dict[type[Fact], tuple[Phase, ...]] = {
    Requested: (),
    Guarded: (Phase.QUEUED, Phase.LAUNCHING, Phase.RUNNING, Phase.PAUSED),
    Begun: (Phase.QUEUED,),
    Assessed: (Phase.LAUNCHING, Phase.PAUSED),
    AssessmentOverridden: (Phase.QUEUED, Phase.LAUNCHING, Phase.PAUSED),
    Packed: (Phase.LAUNCHING, Phase.PAUSED),
    Ready: (Phase.LAUNCHING, Phase.PAUSED),
    Frozen: (Phase.LAUNCHING, Phase.RUNNING, Phase.PAUSED, Phase.CONFIRMING),
    StepEntered: (Phase.LAUNCHING, Phase.RUNNING),
    Jumped: (Phase.RUNNING, Phase.PAUSED),
    Observed: (Phase.RUNNING, Phase.PAUSED, Phase.CONFIRMING, Phase.BAKING, Phase.ENDED),
    Judged: (Phase.RUNNING, Phase.PAUSED, Phase.CONFIRMING),
    Paused: (Phase.LAUNCHING, Phase.RUNNING),
    Resumed: (Phase.PAUSED,),
    Approved: (Phase.LAUNCHING, Phase.RUNNING, Phase.PAUSED),
    Checked: (Phase.LAUNCHING, Phase.RUNNING, Phase.PAUSED),
    FreezeOverridden: (Phase.QUEUED, Phase.LAUNCHING, Phase.RUNNING, Phase.PAUSED),
    Promoted: (Phase.LAUNCHING, Phase.RUNNING, Phase.PAUSED),
    Confirmed: (Phase.CONFIRMING,),
    Unconfirmed: (Phase.CONFIRMING,),
    Baked: (Phase.BAKING,),
    Established: (Phase.LAUNCHING,),
    Aborted: (Phase.QUEUED, Phase.LAUNCHING, Phase.RUNNING, Phase.PAUSED, Phase.CONFIRMING, Phase.BAKING),
    Failed: (Phase.LAUNCHING, Phase.PAUSED),
    Superseded: (Phase.QUEUED, Phase.LAUNCHING, Phase.RUNNING, Phase.PAUSED),
    Concluded: (Phase.RUNNING, Phase.PAUSED),
    Undeployed: (Phase.ENDED,),
    Scaled: (Phase.CONFIRMING, Phase.BAKING, Phase.ENDED),
    Settled: (Phase.CONFIRMING, Phase.BAKING, Phase.ENDED),
    HookCalled: (Phase.CONFIRMING, Phase.BAKING, Phase.ENDED),
}
"""The phases that allow each fact. All others refuse it."""


def admits(phase: Phase, kind: type[Fact]) -> bool:
    """Whether a rollout in `phase` allows a fact of this kind."""
    return phase in _MOVES[kind]


def begin(entry: Entry) -> Rollout:
    """The state after the first fact."""
    if not isinstance(entry.fact, Requested) or entry.seq != 0:
        raise IllegalMove(f"rollout {entry.rollout} does not start with Requested.")
    requested = entry.fact
    return Rollout(
        id=entry.rollout, seq=0, requested=requested, requested_at=entry.at, epoch_began_at=entry.at,
        reason=requested.cause, actor=requested.actor, party=requested.party,
    )  # fmt: skip


def advance(rollout: Rollout, entry: Entry) -> Rollout:
    """The state after one more fact. Raises IllegalMove, which names phase and fact, if the table does not allow it."""
    fact, at = entry.fact, entry.at
    if entry.seq != rollout.seq + 1:
        raise IllegalMove(f"rollout {rollout.id} is at fact {rollout.seq}: fact {entry.seq} cannot be next.")
    refuse_illegal(rollout, fact)
    state = replace(rollout, seq=entry.seq)
    match fact:
        case Requested():
            raise IllegalMove(f"rollout {rollout.id} is requested already.")
        case Guarded(protected=protected):
            return replace(state, guarded=protected)
        case Begun(stable=stable):
            return replace(state, phase=Phase.LAUNCHING, stable=stable, began_at=at, reason="launching the candidate")
        case Assessed(gate=gate):
            return replace(state, assessments={**state.assessments, gate: fact})
        case AssessmentOverridden():
            return replace(state, assessment_overridden=True)
        case Packed():
            return replace(state, packed=fact)
        case Ready():
            return replace(state, ready=True)
        case Frozen(metric=metric, threshold=threshold):
            return replace(state, thresholds={**state.thresholds, metric: threshold})
        case StepEntered(step=step, weight=weight, reason=reason, actor=actor, party=party):
            moved = replace(state, phase=Phase.RUNNING, step=step, reason=reason, actor=actor, party=party)
            entered = replace(_reweighted(moved, weight, at), step_entered_at=at, step_observed_at=None)
            is_served = entered.epoch == rollout.epoch == rollout.observed_epoch
            return replace(entered, step_observed_at=at) if is_served else entered
        case Jumped(step=step, weight=weight, reason=reason, actor=actor, party=party):
            moved = replace(_back(state, step), step=step, reason=reason, actor=actor, party=party)
            return replace(_reweighted(moved, weight, at), step_entered_at=at, step_observed_at=None)
        case Observed(epoch=epoch):
            return _observed(state, epoch, at)
        case Judged(metric=metric, answer=answer, k=k, step=step, reason=reason):
            judgement = Judgement(answer=answer, k=k, step=step, reason=reason)
            return replace(state, judgements={**state.judgements, metric: judgement})
        case Paused(reason=reason, actor=actor, party=party):
            return replace(state, phase=Phase.PAUSED, reason=reason, actor=actor, party=party)
        case Resumed(reason=reason, actor=actor, party=party, overrides=overrides):
            phase = Phase.RUNNING if state.step >= 0 else Phase.LAUNCHING
            resumed = replace(state, phase=phase, reason=reason, actor=actor, party=party, resumed_at=at)
            return _overridden(resumed, overrides, at) if overrides else resumed
        case Approved(step=step, actor=actor, person=person):
            signed = () if person is None else (Signature(step=step, person=person, actor=actor),)
            return replace(
                state, approvals={**state.approvals, step: actor}, signatures=(*state.signatures, *signed)
            )  # fmt: skip
        case Checked(step=step, answer=answer, reason=reason):
            reply = Reply(answer=answer, reason=reason, at=at, times=state.times_checked(step) + 1)
            return replace(state, replies={**state.replies, step: reply})
        case FreezeOverridden(until=until):
            return replace(state, freeze_overridden_until=datetime.fromisoformat(until))
        case Promoted(reason=reason, actor=actor, party=party):
            moved = replace(state, reason=reason, actor=actor, party=party, promoted_at=at)
            confirm = state.confirms
            if confirm is not None:
                return _reweighted(replace(moved, phase=Phase.CONFIRMING), FULL - confirm.holdout, at)
            return _full(moved, at)
        case Confirmed(reason=reason):
            confirmed = replace(state, is_confirmed=True, reason=reason, actor="policy", party=Party.POLICY)
            return _full(confirmed, at)
        case Unconfirmed(reason=reason, actor=actor, party=party):
            return _full(replace(state, is_confirmed=False, reason=reason, actor=actor, party=party), at)
        case Established(reason=reason, actor=actor, party=party):
            ended = _ended(state, Ending.ESTABLISHED, reason, at, actor, party)
            return _reweighted(ended, FULL, at)
        case Baked():
            return _ended(state, Ending.PROMOTED, state.reason, at, state.actor, state.party)
        case Aborted(reason=reason, actor=actor, party=party):
            aborted = _ended(state, Ending.ABORTED, reason, at, actor, party)
            return replace(_reweighted(aborted, 0, at), settled=False)
        case Superseded(by=by):
            return _reweighted(_ended(state, Ending.SUPERSEDED, f"superseded by {by}", at, by, Party.SLUICE), 0, at)
        case Concluded(reason=reason, actor=actor, party=party):
            return _reweighted(_ended(state, Ending.CONCLUDED, reason, at, actor, party), 0, at)
        case Failed(stage=stage, reason=reason):
            failed = _ended(state, Ending.FAILED, f"{stage}: {reason}", at, state.actor, state.party)
            return _reweighted(failed, 0, at)
        case Undeployed(reason=reason, actor=actor, party=party):
            emptied = replace(state, undeployed=True, settled=False, reason=reason, actor=actor, party=party)
            return _reweighted(emptied, 0, at)
        case Scaled(replicas=replicas):
            return replace(state, replicas=replicas)
        case Settled():
            return replace(state, settled=True)
        case HookCalled(after=after, position=position):
            replies = {**state.hook_replies, (after, position): HookReply(called=fact, at=at)}
            return replace(state, hook_replies=replies)


def refuse_illegal(rollout: Rollout, fact: Fact) -> None:
    """Raise IllegalMove unless the table allows this fact and the fact's own conditions hold."""
    name = type(fact).__name__
    if not admits(rollout.phase, type(fact)):
        how = f" ({rollout.ending})" if rollout.ending else ""
        raise IllegalMove(f"rollout {rollout.id} is {rollout.phase}{how}, which does not allow {name}.")
    match fact:
        case StepEntered() | Promoted() | Established() if not rollout.ready and not rollout.is_comparison:
            raise IllegalMove(f"rollout {rollout.id}: {name} needs a candidate that has become ready.")
        case StepEntered() if rollout.stable is None:
            raise IllegalMove(
                f"rollout {rollout.id}: a step splits traffic between candidate and stable, but there is no "
                "stable build."
            )
        case StepEntered(step=step) if step != rollout.step + 1 or step >= len(rollout.plan.steps):
            raise IllegalMove(f"rollout {rollout.id} is {_at(rollout)}: it cannot enter {_step(step)}.")
        case StepEntered(step=step, weight=weight) if weight != rollout.plan.steps[step].weight:
            raise IllegalMove(
                f"rollout {rollout.id}: the weight {weight} is not the one that the plan has for {_step(step)}."
            )
        case StepEntered(step=0) if rollout.wants_approval:
            raise IllegalMove(f"rollout {rollout.id}: the first step needs a person's approval.")
        case StepEntered(step=0) if not _may_begin(rollout):
            raise IllegalMove(
                f"rollout {rollout.id}: the check {rollout.plan.check} must answer yes before the first step."
            )
        case StepEntered(step=0) if not rollout.is_replayed:
            raise IllegalMove(f"rollout {rollout.id}: every gate of the replay must pass before the first step.")
        case Jumped() if not _may_jump(rollout, fact):
            raise IllegalMove(f"rollout {rollout.id} is {_at(rollout)}: it cannot jump to {_step(fact.step)}.")
        case Jumped(party=party, actor=actor) if not _is_named(party, actor):
            raise IllegalMove(f"rollout {rollout.id}: only a named person can take it to another step, not {party}.")
        case Jumped(step=step) if step > rollout.step and not rollout.is_signed:
            raise IllegalMove(f"{_protected(rollout)}: a second named person must approve a jump to a later step.")
        case Packed() if not rollout.is_assessed:
            raise IllegalMove(
                f"rollout {rollout.id}: every offline gate must pass, or be overridden, before a build is packed."
            )
        case AssessmentOverridden(actor=""):
            raise IllegalMove(f"rollout {rollout.id}: an override needs the name of the person who gives it.")
        case Resumed(overrides=overrides) if set(overrides) != set(rollout.failures):
            raise IllegalMove(
                f"rollout {rollout.id}: resuming it must override exactly what failed: {', '.join(rollout.failures)}."
            )
        case Resumed(overrides=overrides, party=party, actor=actor) if overrides and not _is_named(party, actor):
            raise IllegalMove(f"rollout {rollout.id}: only a named person can override a failure, not {party}.")
        case Ready() if rollout.packed is None:
            raise IllegalMove(f"rollout {rollout.id}: a build must be packed before it is ready.")
        case Approved(step=step) if step != rollout.step or (step < 0 and not _may_be_approved_first(rollout)):
            raise IllegalMove(f"rollout {rollout.id} is {_at(rollout)}: {_step(step)} cannot be approved.")
        case Approved(step=-1) if not rollout.ready and not rollout.is_comparison:
            raise IllegalMove(
                f"rollout {rollout.id}: its first request can be approved only once the candidate is ready."
            )
        case Approved(person=None) if rollout.guarded:
            raise IllegalMove(f"{_protected(rollout)}: only a named person can approve it, with a token of their own.")
        case Approved(person=str(person), actor=actor) if rollout.guarded and rollout.is_asked_by(
            Signature(step=rollout.step, person=person, actor=actor)
        ):
            raise IllegalMove(
                f"{_protected(rollout)}, and {asker(rollout)} asked for it: the person who asked cannot approve."
            )
        case StepEntered(step=0) | Promoted() | Established() if not rollout.is_signed:
            raise IllegalMove(f"{_protected(rollout)}: {type(fact).__name__} needs a second named person's approval.")
        case Checked(step=step) if step != rollout.step or rollout.check is None:
            raise IllegalMove(f"rollout {rollout.id} is {_at(rollout)}: there is no check of {_step(step)}.")
        case Promoted() if rollout.is_shadow:
            raise IllegalMove(f"rollout {rollout.id} is a shadow: it cannot be promoted; start a canary of the build.")
        case Promoted() if rollout.is_comparison:
            raise IllegalMove(f"rollout {rollout.id} is a comparison of an experiment: it cannot be promoted.")
        case Promoted(override=False, verdicts=verdicts) if not _all_passed(rollout, verdicts):
            raise IllegalMove(
                f"rollout {rollout.id}: every gate must pass at the last step, or a person must override it, "
                "before the promotion."
            )
        case Promoted(override=True, actor=""):
            raise IllegalMove(f"rollout {rollout.id}: an override needs the name of the person who gives it.")
        case Promoted(override=True, party=party) if party is not Party.PERSON and rollout.is_judged:
            raise IllegalMove(f"rollout {rollout.id}: only a person can override the gates, not {party}.")
        case Established() if rollout.stable is not None:
            raise IllegalMove(f"rollout {rollout.id}: only an empty variation can get a first build.")
        case Undeployed() if not rollout.took_over or rollout.undeployed:
            raise IllegalMove(f"rollout {rollout.id} is {rollout.phase}: only a stable build can be undeployed.")
        case Scaled() if not rollout.took_over or rollout.undeployed:
            raise IllegalMove(f"rollout {rollout.id} is {rollout.phase}: only a stable build can be scaled.")
        case HookCalled() if not _is_next_attempt(rollout, fact):
            raise IllegalMove(
                f"rollout {rollout.id}: attempt {fact.attempt} to notify {fact.actor} is not the next one."
            )
        case Settled() if rollout.settled:
            raise IllegalMove(f"the end of rollout {rollout.id} has been written to MLflow already.")
        case _:
            return


def _is_next_attempt(rollout: Rollout, call: HookCalled) -> bool:
    before = rollout.hook_replies.get((call.after, call.position))
    if before is None:
        return call.attempt == 1
    return before.called.answer == "failed" and call.attempt == before.called.attempt + 1


def asker(rollout: Rollout) -> str:
    """The name of the person behind the rollout so far."""
    return rollout.asked_by.actor if rollout.asked_by is not None else "nobody named"


def _at(rollout: Rollout) -> str:
    return f"at {_step(rollout.step)}"


def _step(step: int) -> str:
    """The step as people count it, from 1."""
    return "the first request" if step < 0 else f"step {step + 1}"


def _protected(rollout: Rollout) -> str:
    return f"rollout {rollout.id}: {'/'.join(rollout.target)} is protected"


def _may_jump(rollout: Rollout, jump: Jumped) -> bool:
    """Whether the plan has this step with this weight, and the rollout may go there; upwards only while running."""
    steps = rollout.plan.steps
    is_there = 0 <= jump.step < len(steps) and jump.step != rollout.step == jump.former >= 0
    may_rise = rollout.phase is Phase.RUNNING and not rollout.plan.certified
    return is_there and jump.weight == steps[jump.step].weight and (jump.step < rollout.step or may_rise)


def _back(rollout: Rollout, step: int) -> Rollout:
    """The rollout without the approvals, signatures and replies of this step and later ones."""
    return replace(
        rollout,
        approvals={at: who for at, who in rollout.approvals.items() if at < step},
        signatures=tuple(each for each in rollout.signatures if each.step < step),
        replies={at: reply if at < step else replace(reply, answer="stale") for at, reply in rollout.replies.items()},
    )


def _may_be_approved_first(rollout: Rollout) -> bool:
    """Whether a person's approval is required before the first request."""
    return rollout.guarded or rollout.wants_approval


def _may_begin(rollout: Rollout) -> bool:
    """Whether the check before the first step, if any, has said yes or was overridden."""
    reply = rollout.replies.get(-1)
    return rollout.assessment_overridden or rollout.check is None or (reply is not None and reply.answer == "yes")


def _all_passed(rollout: Rollout, verdicts: dict[str, str]) -> bool:
    """Whether the ledger has a passing verdict of every gate at the last step, and at least one.

    The writer's own claim does not count: it must match what was recorded.
    """
    is_last = rollout.step + 1 == len(rollout.plan.steps)
    gates, decides = rollout.plan.must_pass, bool(rollout.plan.deciding_gates)
    recorded = {
        metric: judgement.answer for metric, judgement in rollout.judgements.items() if judgement.step == rollout.step
    }
    passed = {metric for metric in gates if recorded.get(metric) == verdicts.get(metric) == "pass"}
    return is_last and decides and passed == gates and set(verdicts.values()) == {"pass"}


def _is_named(party: Party, actor: str) -> bool:
    return party is Party.PERSON and actor != ""


def _overridden(rollout: Rollout, metrics: Sequence[str], at: datetime) -> Rollout:
    """A new epoch at the same weight, so that requests from now on can be told from those that failed."""
    begun = _new_epoch(rollout, at)
    judgements = {name: judgement for name, judgement in rollout.judgements.items() if name not in metrics}
    overridden = {**rollout.overridden, **dict.fromkeys(metrics, begun.epoch)}
    return replace(begun, judgements=judgements, overridden=overridden)


def _reweighted(rollout: Rollout, weight: int, at: datetime) -> Rollout:
    """A new epoch, unless the weight stays the same."""
    return rollout if weight == rollout.weight else replace(_new_epoch(rollout, at), weight=weight)


def _new_epoch(rollout: Rollout, at: datetime) -> Rollout:
    return replace(rollout, epoch=rollout.epoch + 1, epoch_began_at=at)


def _full(rollout: Rollout, at: datetime) -> Rollout:
    """The candidate gets every request; the former stable keeps running for a while."""
    return _reweighted(replace(rollout, phase=Phase.BAKING, full_at=at), FULL, at)


def _observed(rollout: Rollout, epoch: int, at: datetime) -> Rollout:
    if epoch != rollout.epoch:
        raise IllegalMove(f"rollout {rollout.id} is at epoch {rollout.epoch}: epoch {epoch} cannot have been applied.")
    return replace(rollout, observed_epoch=epoch, step_observed_at=rollout.step_observed_at or at)


def _ended(rollout: Rollout, ending: Ending, reason: str, at: datetime, actor: str, party: Party) -> Rollout:
    return replace(rollout, phase=Phase.ENDED, ending=ending, reason=reason, ended_at=at, actor=actor, party=party)
