"""Orders on one rollout: pause, resume, approve, promote, abort, retry. Each adds to a draft or is refused. Pure."""

from __future__ import annotations

import dataclasses

from sluicegate.registry.ledger.freezes import freezes
from sluicegate.registry.orders.applied_plan import applied_plan
from sluicegate.registry.orders.authority import need
from sluicegate.registry.orders.draft import Draft
from sluicegate.registry.orders.order import Order, RollBack, Start
from sluicegate.registry.orders.rules import way_out
from sluicegate.registry.orders.starting import STILL, Started, put_first, replace, roll_back, start
from sluicegate.registry.plan.fields import Strategy
from sluicegate.registry.rollout.decision import signature_wanted
from sluicegate.registry.rollout.facts import Aborted, Approved, AtOnce, Fact, Party, Paused, Promoted, Resumed
from sluicegate.registry.rollout.freeze import freeze_for
from sluicegate.registry.rollout.rollout import Ending, Phase, Rollout, Signature
from sluicegate.registry.words.errors import IllegalMove, NotFound, Refused
from sluicegate.registry.words.roles import Role


def pause(draft: Draft, order: Order, rollout: Rollout) -> Rollout:
    """Hold a rollout where it is. Guardrails keep judging."""
    if rollout.phase is Phase.PAUSED:
        return rollout
    return _append(draft, rollout, Paused(actor=order.actor, party=order.party, reason=order.reason))


def resume(draft: Draft, order: Order, rollout: Rollout) -> Rollout:
    """End a pause. If a failed rule caused it, this overrides the failure, which only a named approver may do."""
    failures = rollout.failures if rollout.phase is Phase.PAUSED else ()
    if failures:
        need(order, Role.APPROVER, f"to override the failure of {', '.join(failures)}")
        if order.party is not Party.PERSON:
            raise Refused(
                f"rollout {rollout.id} was paused because {', '.join(failures)} failed: only a named person can "
                "override that.",
                fix=f"resume it by name: sluice rollout resume {rollout.id} --reason WHY, or abort it",
            )
    resumed = Resumed(actor=order.actor, party=order.party, reason=order.reason, overrides=failures)
    return _append(draft, rollout, resumed)


def approve(draft: Draft, order: Order, rollout: Rollout, step: int) -> Rollout:
    """Let a rollout leave a step once its gates have passed. Approving an approved step changes nothing."""
    has_signed = any(each.step == step and each.person == order.person for each in rollout.signatures)
    if step in rollout.approvals and (has_signed or not rollout.guarded):
        return rollout
    if 0 <= step < rollout.step:
        raise IllegalMove(
            f"rollout {rollout.id} has left step {step + 1} already: it is at step {rollout.step + 1}.",
            fix=f"look at its present step: sluice rollout show {rollout.id}",
        )
    approved = Approved(
        step=step, actor=order.actor, party=order.party, person=order.person, reason=order.reason
    )  # fmt: skip
    try:
        return draft.append(rollout.id, approved)
    except IllegalMove as error:
        raise IllegalMove(error.message, fix=_other_approver(rollout) or way_out(rollout)) from error


def _signed(rollout: Rollout, signature: Signature, reason: str) -> Approved:
    return Approved(step=rollout.step, actor=signature.actor, person=signature.person, reason=reason)


def _other_approver(rollout: Rollout) -> str | None:
    """Who may approve instead, if a second named person must."""
    if signature_wanted(rollout) is None:
        return None
    return (
        f"somebody else with the role approver and a token of their own must run: sluice rollout approve {rollout.id}"
    )


def promote(draft: Draft, order: Order, rollout: Rollout) -> Rollout:
    """Give the candidate all traffic now. A named person overrides its gates, but not a freeze."""
    if rollout.took_over:
        return rollout
    freeze = freeze_for(freezes(draft), rollout, draft.now)
    if freeze is not None:
        through = f"sluice rollout override-freeze {rollout.id} --reason WHY"
        raise Refused(f"{rollout.id}: {freeze}.", fix=f"wait, or: {through} {STILL}")
    for signature in order.signed_by if rollout.guarded else ():
        if not rollout.is_asked_by(signature):
            rollout = draft.append(rollout.id, _signed(rollout, signature, order.reason))
    answers = {metric: judgement.answer for metric, judgement in rollout.judgements.items()}
    fact = Promoted(actor=order.actor, party=order.party, reason=order.reason, override=True, verdicts=answers)
    return _append(draft, rollout, fact)


def abort(draft: Draft, order: Order, rollout: Rollout) -> Rollout:
    """Return all traffic to stable, in any phase. Aborting an aborted rollout changes nothing."""
    if rollout.ending is Ending.ABORTED:
        return rollout
    if rollout.is_ended:
        raise Refused(
            f"rollout {rollout.id} has ended ({rollout.ending}): there is nothing left to abort.",
            fix=way_out(rollout),
        )
    return draft.append(rollout.id, Aborted(actor=order.actor, party=order.party, reason=order.reason))


def retry(draft: Draft, order: Order, old: Rollout) -> Started:
    """Start a new rollout for one that ended without success, by the plan that is applied now.

    If such a rollout is already running, returns that one.
    """
    if not old.is_ended or old.took_over:
        how = f"is {old.phase}" if not old.is_ended else f"has ended with success ({old.ending})"
        raise Refused(f"rollout {old.id} {how}: there is nothing to retry.", fix=way_out(old))
    requested, order = (
        old.requested,
        dataclasses.replace(order, cause=f"retry of {old.id}: {order.reason}", follows=old.id),
    )
    try:
        plan = applied_plan(draft, requested.model, requested.variation)
    except NotFound:
        plan = old.plan
    match requested.strategy:
        case AtOnce.ROLLBACK:
            return roll_back(
                draft, order, RollBack(model=requested.model, variation=requested.variation, version=requested.version)
            )
        case AtOnce.DEPLOY:
            return put_first(draft, order, plan, requested.version)
        case AtOnce.REPLACE:
            return replace(draft, order, plan, requested.version, order.reason)
        case _ if old.is_comparison:
            raise Refused(
                f"rollout {old.id} is one comparison of an experiment, which is started as a whole.",
                fix=f"start the experiment of {requested.model}/{old.plan.variation} as a whole",
            )
        case strategy:
            again = Start(
                model=requested.model, variation=requested.variation, version=requested.version, plan=plan,
                strategy=Strategy(strategy), allow_older=True,
            )  # fmt: skip
            return start(draft, order, again)


def _append(draft: Draft, rollout: Rollout, fact: Fact) -> Rollout:
    """Add a fact that a person ordered. Raises IllegalMove, which says what to do instead."""
    try:
        return draft.append(rollout.id, fact)
    except IllegalMove as error:
        raise IllegalMove(error.message, fix=way_out(rollout)) from error
