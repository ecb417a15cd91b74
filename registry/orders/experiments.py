"""Orders on experiments: start one, promote a variation, end it. As for rollouts: check, then append."""

from __future__ import annotations

import hashlib
from datetime import datetime

from sluicegate.registry.ledger.freezes import freezes
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.orders import rollouts as orders
from sluicegate.registry.orders.audiences import refuse_unknown
from sluicegate.registry.orders.rollouts import Request, Started
from sluicegate.registry.plan.fields import Experiment, Strategy
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.experiment import of, together
from sluicegate.registry.rollout.facts import Concluded, Requested
from sluicegate.registry.rollout.freeze import holding
from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.rollout.standing import current
from sluicegate.registry.words.build import slug
from sluicegate.registry.words.errors import LedgerConflict, NotFound, Refused, TargetBusy


def start(ledger: Ledger, *, plan: Plan, request: Request, now: datetime) -> tuple[Started, ...]:
    """Ask for the experiment of a plan: one comparison for each variation but the control, in the plan's order.

    Asked for twice while it goes on, it is one experiment.
    """
    ab = plan.ab
    if ab is None:
        raise Refused(
            f"the plan of {plan.model}/{plan.variation} describes no experiment.",
            fix="add ab: {variations: …, goal: …, max_time: …} to it, and apply it",
        )
    builds = {name: _build(ledger, plan, name) for name in ab.variations}
    former = _experiments(ledger, plan)
    going_on = [name for name, group in former.items() if not all(each.is_ended for each in group)]
    if not going_on:
        _refuse_busy(ledger, plan, ab)
        refuse_unknown(ledger, plan.model, [ab.audience], reach="experiment")
    attempt = len(former) - len(going_on)
    name = going_on[0] if going_on else _name(plan, builds, attempt)
    asked = [_requested(plan, variation, builds[variation], name, request) for variation in _arms(plan, ab)]
    return tuple(_open(ledger, requested, attempt, now) for requested in asked)


def promote(ledger: Ledger, rollout_id: str, *, actor: str, reason: str, now: datetime) -> Rollout:
    """Promote what a rollout tries. Of a comparison: put its build in the control's place, and end the experiment.

    Gives the rollout that puts it there. The control's build changes first: should this be cut short, the comparisons
    end because it changed.
    """
    rollout = ledger.rollout(rollout_id)
    if not rollout.is_comparison:
        return orders.promote(ledger, rollout_id, actor=actor, reason=reason, now=now)
    experiment, plan = rollout.requested.experiment or "", Plan.recorded(rollout.requested.plan)
    why = f"{rollout.requested.variation} of experiment {experiment}: {reason}"
    placed = _place(ledger, plan, rollout, actor, why, now)
    conclude(ledger, experiment, actor=actor, reason=f"promoted {why}", now=now)
    return placed or ledger.rollout(rollout_id)


def conclude(ledger: Ledger, experiment: str, *, actor: str, reason: str, now: datetime) -> tuple[Rollout, ...]:
    """End every comparison of an experiment that goes on. Raises NotFound."""
    group = together(ledger.rollouts(), experiment)
    if not group:
        raise NotFound(f"there is no experiment {experiment!r}.", fix="see sluice rollout list.")
    return tuple(_concluded(ledger, each, actor, reason, now) for each in group)


def cause_of(rollout: Rollout) -> str:
    """The door through which an experiment's winner comes: how such a rollout's cause begins."""
    return f"experiment:{rollout.requested.experiment}"


def _place(
    ledger: Ledger, plan: Plan, compared: Rollout, actor: str, why: str, now: datetime
) -> Rollout | None:  # fmt: skip
    """The rollout that puts the build in the control's place; None when it is there already."""
    version = compared.requested.version
    if orders.stable(ledger, plan.model, plan.variation) == version:
        return None
    is_held = holding(freezes(ledger), compared, now) is not None
    request = Request(actor=actor, cause=cause_of(compared), override_freeze=None if is_held else why)
    placed = orders.replace(ledger, plan=plan, version=version, reason=why, request=request, now=now).rollout
    known = (r.packed for r in ledger.rollouts(model=plan.model) if r.requested.version == version)
    packed = next((each for each in known if each is not None), None)
    if packed is None or placed.packed is not None or not placed.holds_target:
        return placed
    return orders.append(ledger, placed.id, lambda _: packed, now)


def _concluded(ledger: Ledger, rollout: Rollout, actor: str, reason: str, now: datetime) -> Rollout:
    match rollout.phase:
        case Phase.RUNNING | Phase.PAUSED:
            return orders.append(ledger, rollout.id, lambda _: Concluded(actor=actor, reason=reason), now)
        case Phase.QUEUED | Phase.LAUNCHING:
            return orders.abort(ledger, rollout.id, actor=actor, reason=reason, now=now)
        case Phase.BAKING | Phase.ENDED:
            return rollout


def _build(ledger: Ledger, plan: Plan, variation: str) -> str:
    """The version that a variation holds."""
    version = orders.stable(ledger, plan.model, variation)
    if version is None:
        raise Refused(
            f"variation {plan.model}/{variation} holds no build.",
            fix=f"sluice deploy {plan.model} --build VERSION --variation {variation}",
        )
    return version


def _arms(plan: Plan, ab: Experiment) -> tuple[str, ...]:
    return tuple(name for name in ab.variations if name != plan.variation)


def _experiments(ledger: Ledger, plan: Plan) -> dict[str, list[Rollout]]:
    """The experiments that were asked for with this very plan."""
    found: dict[str, list[Rollout]] = {}
    for rollout in ledger.rollouts(model=plan.model):
        if rollout.requested.experiment is not None and rollout.requested.plan_digest == plan.digest:
            found.setdefault(rollout.requested.experiment, []).append(rollout)
    return found


def _refuse_busy(ledger: Ledger, plan: Plan, ab: Experiment) -> None:
    """An audience has one experiment at a time, and nobody rolls out inside a variation that takes part."""
    rollouts = ledger.rollouts(model=plan.model)
    for rollout in rollouts:
        if rollout.is_comparison and not rollout.is_ended and of(rollout.plan).audience == ab.audience:
            raise TargetBusy(
                f"experiment {rollout.requested.experiment} shares audience {ab.audience} already.",
                fix=f"wait for its end, or: sluice experiment end {rollout.requested.experiment}",
            )
    for name in ab.variations:
        held = current(r for r in rollouts if r.requested.variation == name)
        if held is not None:
            raise TargetBusy(
                f"rollout {held.id} of {plan.model}/{name} is {held.phase}: its build would change.",
                fix=f"wait for its end, or: sluice rollout abort {held.id}",
            )


def _name(plan: Plan, builds: dict[str, str], attempt: int) -> str:
    digest = hashlib.sha256(repr((plan.digest, sorted(builds.items()), attempt)).encode()).hexdigest()
    return f"{slug(plan.model)}-ab-{digest[:6]}"


def _requested(plan: Plan, variation: str, version: str, experiment: str, request: Request) -> Requested:
    return Requested(
        model=plan.model, variation=variation, version=version, strategy=Strategy.AB.value, plan=plan.document(),
        plan_digest=plan.digest, actor=request.actor, cause=request.cause, experiment=experiment,
    )  # fmt: skip


def _open(ledger: Ledger, requested: Requested, attempt: int, now: datetime) -> Started:
    name = orders.rollout_id(requested, attempt)
    try:
        opened = ledger.open(name, requested, now)
    except LedgerConflict:
        return Started(rollout=ledger.rollout(name), created=False)
    return Started(rollout=orders.begin(ledger, opened, now), created=True)
