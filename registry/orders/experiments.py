"""Orders on experiments: start one, promote a variation, end it. Each adds to a draft or is refused. Pure."""

from __future__ import annotations

import dataclasses
import hashlib

from sluicegate.registry.ledger.experiments import find_experiment
from sluicegate.registry.ledger.freezes import freezes
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.orders.applied_plan import applied_plan
from sluicegate.registry.orders.audiences import refuse_unknown
from sluicegate.registry.orders.draft import Draft
from sluicegate.registry.orders.order import Order, StartExperiment
from sluicegate.registry.orders.starting import Started, open_rollout, replace, requested_by
from sluicegate.registry.plan.fields import ExperimentSpec, Strategy
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.experiment import experiment_spec
from sluicegate.registry.rollout.facts import Aborted, Concluded
from sluicegate.registry.rollout.freeze import freeze_for
from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.rollout.standing import current, trusted
from sluicegate.registry.words.build import slug
from sluicegate.registry.words.errors import Refused, TargetBusy


def start_experiment(draft: Draft, order: Order, act: StartExperiment) -> tuple[Started, ...]:
    """Start a plan's experiment: one comparison for each variation except the control, in the plan's order.

    If the experiment is already running, returns that one.
    """
    plan = act.plan or applied_plan(draft, act.model, act.variation)
    ab = plan.ab
    if ab is None:
        raise Refused(
            f"the plan of {plan.model}/{plan.variation} has no section ab, so it describes no experiment.",
            fix="add ab: {variations: …, goal: …, max_time: …} to it, and apply it",
        )
    builds = {name: _build(draft, plan, name) for name in ab.variations}
    former = _experiments(draft, plan)
    under_way = [name for name, group in former.items() if not all(each.is_ended for each in group)]
    if not under_way:
        _refuse_busy(draft, plan, ab)
        refuse_unknown(draft, plan.model, [ab.audience], reach="experiment")
    attempt = len(former) - len(under_way)
    name = under_way[0] if under_way else _name(plan, builds, attempt)
    compared = [variation for variation in ab.variations if variation != plan.variation]
    wanted = [
        dataclasses.replace(
            requested_by(order, plan, builds[variation], Strategy.AB, experiment=name), variation=variation
        )
        for variation in compared
    ]
    return tuple(open_rollout(draft, order, requested, attempt=attempt) for requested in wanted)


def promote_variation(draft: Draft, order: Order, rollout: Rollout) -> Rollout:
    """Replace the control's build with that of a comparison's variation, and end the experiment.

    Returns the rollout that replaces it, or the comparison itself if the control already holds the build.
    """
    experiment, plan = rollout.requested.experiment or "", Plan.recorded(rollout.requested.plan)
    reason = f"{rollout.requested.variation} of experiment {experiment}: {order.reason}"
    placed = _place(
        draft, dataclasses.replace(order, cause=cause_of(rollout), follows=experiment), plan, rollout, reason
    )
    conclude(draft, dataclasses.replace(order, reason=f"promoted {reason}"), experiment)
    return placed or draft.rollout(rollout.id)


def conclude(draft: Draft, order: Order, name: str) -> tuple[Rollout, ...]:
    """End every running comparison of an experiment. Raises NotFound."""
    group = find_experiment(draft, name)
    return tuple(_concluded(draft, order, rollout) for rollout in group)


def cause_of(rollout: Rollout) -> str:
    """The cause of a rollout of an experiment's winner. A reason may follow it."""
    return f"experiment:{rollout.requested.experiment}"


def _place(draft: Draft, order: Order, plan: Plan, compared: Rollout, reason: str) -> Rollout | None:
    """The rollout that replaces the control's build; None if it is already in place."""
    version = compared.requested.version
    stable = trusted(draft.target(plan.model, plan.variation))
    if stable is not None and stable.requested.version == version:
        return None
    is_frozen = freeze_for(freezes(draft), compared, draft.now) is not None
    through = dataclasses.replace(order, override_freeze=None if is_frozen else reason)
    placed = replace(draft, through, plan, version, reason).rollout
    packings = (each.packed for each in draft.rollouts(Selection(model=plan.model, version=version)))
    packed = next((each for each in packings if each is not None), None)
    if packed is None or placed.packed is not None or not placed.holds_target:
        return placed
    return draft.append(placed.id, packed)


def _concluded(draft: Draft, order: Order, rollout: Rollout) -> Rollout:
    match rollout.phase:
        case Phase.RUNNING | Phase.PAUSED:
            return draft.append(rollout.id, Concluded(actor=order.actor, party=order.party, reason=order.reason))
        case Phase.QUEUED | Phase.LAUNCHING:
            return draft.append(rollout.id, Aborted(actor=order.actor, party=order.party, reason=order.reason))
        case Phase.CONFIRMING | Phase.BAKING | Phase.ENDED:
            return rollout


def _build(draft: Draft, plan: Plan, variation: str) -> str:
    """The version that a variation holds."""
    stable = trusted(draft.target(plan.model, variation))
    if stable is None:
        raise Refused(
            f"variation {plan.model}/{variation} holds no build.",
            fix=f"sluice deploy {plan.model} --build VERSION --variation {variation}",
        )
    return stable.requested.version


def _experiments(draft: Draft, plan: Plan) -> dict[str, list[Rollout]]:
    """The experiments that were started with exactly this plan."""
    groups: dict[str, list[Rollout]] = {}
    for rollout in draft.rollouts(Selection(model=plan.model, plan_digest=plan.digest, comparisons=True)):
        groups.setdefault(rollout.requested.experiment or "", []).append(rollout)
    return groups


def _refuse_busy(draft: Draft, plan: Plan, ab: ExperimentSpec) -> None:
    """An audience has one experiment at a time, and no rollout may run inside a variation that takes part."""
    rollouts = draft.current(plan.model)
    for rollout in rollouts:
        if rollout.is_comparison and not rollout.is_ended and experiment_spec(rollout.plan).audience == ab.audience:
            raise TargetBusy(
                f"experiment {rollout.requested.experiment} uses the audience {ab.audience} already.",
                fix=f"wait for its end, or: sluice experiment end {rollout.requested.experiment}",
            )
    for name in ab.variations:
        holder = current(r for r in rollouts if r.requested.variation == name)
        if holder is not None:
            raise TargetBusy(
                f"rollout {holder.id} of {plan.model}/{name} is {holder.phase}, and could change the variation's "
                "build.",
                fix=f"wait for its end, or: sluice rollout abort {holder.id}",
            )


def _name(plan: Plan, builds: dict[str, str], attempt: int) -> str:
    digest = hashlib.sha256(repr((plan.digest, sorted(builds.items()), attempt)).encode()).hexdigest()
    return f"{slug(plan.model)}-ab-{digest[:6]}"
