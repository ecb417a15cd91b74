"""The order to move a rollout to another of its steps. Adds to a draft or is refused. Pure."""

from __future__ import annotations

from sluicegate.registry.ledger.freezes import freezes
from sluicegate.registry.orders.certified_plans import must_be_certified
from sluicegate.registry.orders.draft import Draft
from sluicegate.registry.orders.order import Jump, Order
from sluicegate.registry.orders.rules import way_out
from sluicegate.registry.orders.starting import STILL
from sluicegate.registry.rollout.facts import Approved, Jumped, Party
from sluicegate.registry.rollout.freeze import freeze_for
from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.words.errors import IllegalMove, Refused, UsageError
from sluicegate.registry.words.units import format_weight


def jump(draft: Draft, order: Order, rollout: Rollout, act: Jump) -> Rollout:
    """Move a rollout to another step. Does nothing if it is already there."""
    _refuse_without_steps(rollout)
    if not 0 <= act.step < len(rollout.plan.steps):
        raise UsageError(
            f"the plan of rollout {rollout.id} has no step {act.step + 1}.", fix=f"its steps are {_steps(rollout)}"
        )
    if act.step == rollout.step:
        return rollout
    _refuse_opposite_direction(rollout, act)
    if order.party is not Party.PERSON:
        raise Refused(
            "only a named person can take a rollout to another step.",
            fix=f"sluice rollout jump {rollout.id} --to-step {act.step + 1} --reason WHY",
        )
    if not act.back:
        _refuse_rise(draft, rollout)
        rollout = _signed(draft, order, rollout)
    jumped = Jumped(
        step=act.step, weight=rollout.plan.steps[act.step].weight, former=rollout.step, actor=order.actor,
        party=order.party, reason=order.reason,
    )  # fmt: skip
    return draft.append(rollout.id, jumped)


def _signed(draft: Draft, order: Order, rollout: Rollout) -> Rollout:
    """The rollout with the approval of the second person behind the order, if it is protected."""
    for each in order.signed_by if rollout.guarded else ():
        if not rollout.is_asked_by(each):
            approved = Approved(step=rollout.step, actor=each.actor, person=each.person, reason=order.reason)
            rollout = draft.append(rollout.id, approved)
    return rollout


def _refuse_without_steps(rollout: Rollout) -> None:
    if rollout.is_aside:
        what = "a shadow" if rollout.is_shadow else "a comparison of an experiment"
        raise Refused(f"rollout {rollout.id} is {what}, which has no steps.", fix=way_out(rollout))
    if rollout.phase not in (Phase.RUNNING, Phase.PAUSED) or rollout.step < 0:
        how = f"has ended ({rollout.ending})" if rollout.is_ended else f"is {rollout.phase}"
        raise IllegalMove(f"rollout {rollout.id} {how}, so it cannot jump to a step.", fix=way_out(rollout))


def _refuse_opposite_direction(rollout: Rollout, act: Jump) -> None:
    """Refuse an order that came too late and would now move the rollout in the opposite direction."""
    if act.back == (act.step < rollout.step):
        return
    at, to = _name(rollout, rollout.step), _name(rollout, act.step)
    again = f"sluice rollout jump {rollout.id} --to-step {act.step + 1}"
    if act.back:
        raise IllegalMove(f"rollout {rollout.id} is at {at}: {to} is a later one.", fix=f"to go on: {again}")
    raise IllegalMove(f"rollout {rollout.id} is at {at}, past {to}.", fix=f"to go back: {again} --back")


def _refuse_rise(draft: Draft, rollout: Rollout) -> None:
    """Refuse more weight past the gates during a pause, with a certified plan, and in a freeze."""
    if rollout.phase is Phase.PAUSED:
        raise Refused(
            f"rollout {rollout.id} is paused ({rollout.reason}): its weight cannot grow until it is resumed.",
            fix=f"sluice rollout resume {rollout.id}, which overrides the failure, then jump; a jump with --back "
            "needs no resume",
        )
    if must_be_certified(draft, rollout.plan):
        raise Refused(
            f"rollout {rollout.id} follows a plan that must be certified, and its certificate holds only if no "
            "step is skipped.",
            fix=f"let its gates decide; or override them: sluice rollout promote {rollout.id} --reason WHY",
        )
    freeze = freeze_for(freezes(draft), rollout, draft.now)
    if freeze is not None:
        through = f"sluice rollout override-freeze {rollout.id} --reason WHY"
        raise Refused(f"{rollout.id}: {freeze}.", fix=f"wait, or: {through} {STILL}")


def _name(rollout: Rollout, step: int) -> str:
    return f"step {step + 1} ({format_weight(rollout.plan.steps[step].weight)} %)"


def _steps(rollout: Rollout) -> str:
    return ", ".join(f"{i + 1} ({format_weight(step.weight)} %)" for i, step in enumerate(rollout.plan.steps))
