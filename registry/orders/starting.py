"""Orders that create a rollout: start, first build, replacement, rollback. Each adds to a draft or is refused. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sluicegate.registry.ledger.freezes import freezes
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.orders.answering import has_traffic, moves_callers
from sluicegate.registry.orders.applied_plan import applied_plan
from sluicegate.registry.orders.audiences import refuse_unknown
from sluicegate.registry.orders.authority import need
from sluicegate.registry.orders.certified_plans import refuse_uncertified
from sluicegate.registry.orders.connections_record import connections_of
from sluicegate.registry.orders.draft import Draft
from sluicegate.registry.orders.guarding import is_guarded
from sluicegate.registry.orders.order import Order, RollBack, Start
from sluicegate.registry.orders.rules import (
    former_build,
    is_new_to,
    is_next,
    is_older,
    refuse_crowd,
    refuse_strategy,
    same_intent,
    way_out,
)
from sluicegate.registry.plan.fields import OnNewer, Strategy
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.experiment import refuse_in_experiment
from sluicegate.registry.rollout.facts import (
    AssessmentOverridden,
    AtOnce,
    Baked,
    Begun,
    FreezeOverridden,
    Guarded,
    Party,
    Requested,
    Superseded,
    Unconfirmed,
)
from sluicegate.registry.rollout.freeze import freeze_for, in_force
from sluicegate.registry.rollout.moves import admits
from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.rollout.standing import current, trusted
from sluicegate.registry.words.build import slug
from sluicegate.registry.words.errors import NotFound, Refused, TargetBusy
from sluicegate.registry.words.roles import Role


@dataclass(frozen=True, kw_only=True)
class Started:
    """The rollout that an order led to, and whether the order created it."""

    rollout: Rollout
    created: bool


def start(draft: Draft, order: Order, act: Start) -> Started:
    """Roll out a version by a plan, with the plan's strategy or another one.

    The same (model, variation, version, plan digest, strategy) requested twice is one rollout. A version that ended
    without success starts again if somebody names it; for a trigger, something about it must have changed since.
    """
    plan, version = act.plan or applied_plan(draft, act.model, act.variation), act.version
    chosen = act.strategy or plan.strategy
    refuse_strategy(plan, chosen)
    if chosen is not Strategy.SHADOW:
        refuse_in_experiment(draft.current(plan.model), plan)
    of_target = draft.target(plan.model, plan.variation)
    _refuse_stable(plan, version, trusted(of_target), allow_older=act.allow_older)
    of_version = _of_version(draft, plan.model, plan.variation, version)
    same = same_intent(of_version, plan.digest, chosen)
    if same and not same[-1].is_ended:
        return Started(rollout=_with_overrides(draft, order, same[-1]), created=False)
    tried = [r for r in of_version if r.is_shadow == (chosen is Strategy.SHADOW)]
    if tried and not act.by_name and not is_new_to(tried[-1], plan, act.sighting):
        return Started(rollout=tried[-1], created=False)
    if order.override_assessment is None:
        refuse_uncertified(draft, plan, version)
    _refuse_in_freeze(draft, order, plan.model)
    former = act.sighting.former if act.sighting else {}
    requested = requested_by(order, plan, version, chosen, former_stages=former)
    if chosen is Strategy.SHADOW:
        refuse_crowd(plan, of_target)
        refuse_unknown(draft, plan.model, plan.shadow.audiences if plan.shadow else (), reach="shadow")
    else:
        _make_room(draft, plan, of_target, rollout_id(requested, len(same)))
    return open_rollout(draft, order, requested, attempt=len(same))


def put_first(draft: Draft, order: Order, plan: Plan, version: str) -> Started:
    """Put the first build into an empty variation."""
    of_target = draft.target(plan.model, plan.variation)
    stable = trusted(of_target)
    if stable is not None and stable.requested.version == version:
        return Started(rollout=stable, created=False)
    if stable is not None:
        raise Refused(
            f"{plan.model}/{plan.variation} serves v{stable.requested.version} already.",
            fix=f"roll the build out: sluice rollout start {plan.model} --build {version}",
        )
    requested = requested_by(order, plan, version, AtOnce.DEPLOY)
    same = same_intent(_of_version(draft, plan.model, plan.variation, version), plan.digest, AtOnce.DEPLOY)
    if same and not same[-1].is_ended:
        return Started(rollout=_with_overrides(draft, order, same[-1]), created=False)
    _refuse_in_freeze(draft, order, plan.model)
    return open_rollout(draft, order, requested, attempt=len(same))


def roll_back(draft: Draft, order: Order, act: RollBack) -> Started:
    """Return to an earlier build at once, by a new rollout whose promotion is the actor's override.

    Without a version, returns to the build that was stable before. A build whose bento is known needs no packing.
    """
    model, variation = act.model, act.variation
    of_target = draft.target(model, variation)
    stable, holder = trusted(of_target), current(of_target)
    if stable is None:
        raise Refused(
            f"{model}/{variation} holds no build, so there is nothing to roll back.",
            fix=f"put a first build there: sluice deploy {model}",
        )
    if holder is not None and not holder.took_over:
        raise Refused(
            f"rollout {holder.id} is {holder.phase}: its candidate is not stable yet, so there is nothing to "
            "roll back.",
            fix=f"take it back with: sluice rollout abort {holder.id}",
        )
    former = draft.rollout(former_build(draft.takeovers(model, variation), stable, act.version))
    if moves_callers(draft, former):
        what = f"to go back to {model} v{former.requested.version}, which had no callers while it was stable,"
        need(order, Role.APPROVER, what)
    end_early(draft, holder, order.actor, f"rolled back by {order.actor}")
    requested = requested_by(order, former.plan, former.requested.version, AtOnce.ROLLBACK, reason=order.reason)
    of_version = _of_version(draft, model, variation, former.requested.version)
    rollbacks = [r for r in of_version if r.requested.strategy == AtOnce.ROLLBACK]
    started = open_rollout(draft, order, requested, attempt=len(rollbacks))
    if former.packed is None or not started.rollout.holds_target:
        return started
    return Started(rollout=draft.append(started.rollout.id, former.packed), created=True)


def replace(draft: Draft, order: Order, plan: Plan, version: str, reason: str) -> Started:
    """Replace stable with a build at once, by a new rollout without steps that the actor's override promotes."""
    of_target = draft.target(plan.model, plan.variation)
    stable, holder = trusted(of_target), current(of_target)
    if stable is None:
        raise Refused(
            f"{plan.model}/{plan.variation} holds no build, so there is nothing to replace.",
            fix=f"put a first build there: sluice deploy {plan.model} --build {version}",
        )
    of_version = _of_version(draft, plan.model, plan.variation, version)
    same = [r for r in of_version if r.requested.strategy == AtOnce.REPLACE]
    if holder is not None and holder in same:
        return Started(rollout=_with_overrides(draft, order, holder), created=False)
    if holder is not None and holder.phase is not Phase.CONFIRMING:
        raise TargetBusy(
            f"{plan.model}/{plan.variation} has a rollout under way: {holder.id} is {holder.phase}.",
            fix=way_out(holder),
        )
    if stable.requested.version == version:
        raise Refused(f"{plan.model} v{version} is stable already.", fix="name another build")
    if has_traffic(draft, plan.model, plan.variation):
        what = f"to put a build at once where {plan.model}/{plan.variation} answers callers"
        need(order, Role.APPROVER, what)
    _refuse_in_freeze(draft, order, plan.model)
    requested = requested_by(order, plan, version, AtOnce.REPLACE, reason=reason)
    return open_rollout(draft, order, requested, attempt=len(same))


def requested_by(
    order: Order, plan: Plan, version: str, strategy: str, *, reason: str | None = None,
    former_stages: dict[str, str] | None = None, experiment: str | None = None,
) -> Requested:  # fmt: skip
    """The first fact of a rollout that an order creates. Its cause is the door, followed by a reason if given."""
    return Requested(
        model=plan.model,
        variation=plan.variation,
        version=version,
        strategy=str(strategy),
        plan=plan.document(),
        plan_digest=plan.digest,
        actor=order.actor,
        party=order.party,
        person=order.person,
        cause=order.cause if reason is None else f"{order.cause}: {reason}",
        follows=order.follows,
        former_stages=former_stages or {},
        experiment=experiment,
    )


def open_rollout(draft: Draft, order: Order, requested: Requested, *, attempt: int) -> Started:
    """Open the rollout of an intent and let it begin if nothing prevents it. If it already exists, returns that one."""
    name = rollout_id(requested, attempt)
    try:
        existing = draft.rollout(name)
    except NotFound:
        opened = _guarded(draft, draft.open(name, requested), order)
        return Started(rollout=begin(draft, _with_overrides(draft, order, opened)), created=True)
    return Started(rollout=_with_overrides(draft, order, existing), created=False)


def _guarded(draft: Draft, rollout: Rollout, order: Order) -> Rollout:
    """The opened rollout, guarded if it changes what a protected variation serves."""
    model = rollout.requested.model
    connections = connections_of(draft, model)
    if connections is None or not is_guarded(rollout, connections, draft.takeovers(*rollout.target)):
        return rollout
    guarded = Guarded(protected=True, actor=order.actor, party=order.party, reason="the variation is protected")
    return draft.append(rollout.id, guarded)


def begin(draft: Draft, rollout: Rollout) -> Rollout:
    """Let a queued rollout take its target if that is free and the rollout is first in the queue."""
    of_target = draft.target(*rollout.target)
    stable_target = (rollout.requested.model, rollout.plan.variation) if rollout.is_comparison else rollout.target
    stable = trusted(draft.target(*stable_target))
    is_frozen = (
        rollout.requested.strategy != AtOnce.ROLLBACK and freeze_for(freezes(draft), rollout, draft.now) is not None
    )
    if is_frozen or not is_next(of_target, rollout) or (rollout.is_aside and stable is None):
        return rollout
    if not rollout.is_aside:
        end_early(draft, current(of_target), rollout.requested.actor, f"superseded by {rollout.id}")
    return draft.append(rollout.id, Begun(stable=stable.requested.version if stable else None))


def end_early(draft: Draft, holder: Rollout | None, actor: str, reason: str) -> None:
    """End a promoted rollout early: what it confirms stays unconfirmed, and its former stable may stop."""
    if holder is not None and holder.phase is Phase.CONFIRMING:
        draft.append(holder.id, Unconfirmed(actor=actor, party=Party.SLUICE, reason=reason))
    if holder is not None:
        draft.append(holder.id, Baked(reason=reason))


def override_freeze(draft: Draft, rollout: Rollout, *, actor: str, reason: str) -> Rollout:
    """Let a rollout begin, advance and be promoted in the freeze that applies to it now, until that one ends.

    The next freeze applies to it again. Refused if none applies now.
    """
    freeze = in_force(freezes(draft), rollout.requested.model, draft.now)
    if freeze is None:
        raise Refused(f"no freeze is in force for {rollout.id}: there is nothing to override.", fix=way_out(rollout))
    if freeze_for(freezes(draft), rollout, draft.now) is None:
        return rollout
    fact = FreezeOverridden(actor=actor, reason=reason, freeze=freeze.name, until=freeze.until.isoformat())
    return begin(draft, draft.append(rollout.id, fact))


def rollout_id(requested: Requested, attempt: int) -> str:
    """The id of this intent's n-th attempt, so that two doors asking at once create one rollout."""
    intent = (requested.model, requested.variation, requested.version, requested.plan_digest, requested.strategy)
    digest = hashlib.sha256(repr((*intent, attempt)).encode()).hexdigest()
    return f"{slug(requested.model)}-v{slug(requested.version)}-{digest[:6]}"


def _of_version(draft: Draft, model: str, variation: str, version: str) -> tuple[Rollout, ...]:
    """Every rollout of this build in the target, past ones included, oldest first."""
    return draft.rollouts(Selection(model=model, variation=variation, version=version))


def _refuse_stable(plan: Plan, version: str, stable: Rollout | None, *, allow_older: bool) -> None:
    """Refuse a version if there is no stable build, or it is stable already, or it is older than stable."""
    if stable is None:
        raise Refused(
            f"{plan.model}/{plan.variation} has no stable build to compare version {version} with.",
            fix=f"deploy a first build: sluice deploy {plan.model} --build {version}",
        )
    if stable.requested.version == version:
        raise Refused(f"{plan.model} v{version} is stable already: there is nothing to roll out.")
    if is_older(version, stable.requested.version) and not allow_older:
        raise Refused(
            f"{plan.model} v{version} is older than stable v{stable.requested.version}.",
            fix=f"at once: sluice rollback {plan.model} --to {version}; in steps like a new build: --allow-older",
        )


def _with_overrides(draft: Draft, order: Order, rollout: Rollout) -> Rollout:
    """The rollout with the overrides in the order: of a freeze in force, and of checks before the first request."""
    rollout = _override_assessment(draft, order, rollout)
    if order.override_freeze is None or freeze_for(freezes(draft), rollout, draft.now) is None:
        return rollout
    return override_freeze(draft, rollout, actor=order.actor, reason=order.override_freeze)


def _override_assessment(draft: Draft, order: Order, rollout: Rollout) -> Rollout:
    why, is_open = order.override_assessment, admits(rollout.phase, AssessmentOverridden) and rollout.step < 0
    if why is None or rollout.assessment_overridden or not is_open:
        return rollout
    return draft.append(rollout.id, AssessmentOverridden(actor=order.actor, reason=why))


STILL = "Abort and rollback work during a freeze."


def _refuse_in_freeze(draft: Draft, order: Order, model: str) -> None:
    freeze = in_force(freezes(draft), model, draft.now)
    if freeze is not None and order.override_freeze is None:
        raise Refused(
            f"{model}: {freeze}; no rollout starts or advances until then.",
            fix=f"wait; or, as an admin, repeat the command with --override-freeze WHY. {STILL}",
        )


def _make_room(draft: Draft, plan: Plan, of_target: list[Rollout], successor: str) -> None:
    """Apply the plan's `on_newer` to rollouts of the same target that are in progress or waiting."""
    holder = current(of_target)
    match plan.on_newer:
        case OnNewer.QUEUE:
            return
        case OnNewer.REFUSE if holder is not None:
            raise TargetBusy(
                f"{plan.model}/{plan.variation} has a rollout under way: {holder.id} is {holder.phase}.",
                fix=f"wait for it, or: sluice rollout abort {holder.id}",
            )
        case OnNewer.REFUSE:
            return
        case OnNewer.SUPERSEDE:
            for rollout in of_target:
                if not rollout.is_ended and not rollout.is_aside and not rollout.took_over:
                    draft.append(rollout.id, Superseded(by=successor))
