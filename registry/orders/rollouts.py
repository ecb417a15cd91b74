"""Orders: what people and triggers ask for. Each checks the present state, then appends; the one door to the ledger."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sluicegate.registry.ledger.freezes import freezes
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.orders.audiences import refuse_unknown
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
    Aborted,
    Approved,
    Baked,
    Begun,
    Established,
    Fact,
    FreezeOverridden,
    Packed,
    Paused,
    Promoted,
    Requested,
    Resumed,
    Superseded,
    Undeployed,
)
from sluicegate.registry.rollout.freeze import holding, in_force
from sluicegate.registry.rollout.rollout import DEPLOY, REPLACE, ROLLBACK, Ending, Phase, Rollout
from sluicegate.registry.rollout.standing import current, trusted
from sluicegate.registry.rollout.triggers import Sighting
from sluicegate.registry.words.build import slug
from sluicegate.registry.words.errors import IllegalMove, LedgerConflict, NotFound, Refused, TargetBusy

RETRIES = 8
"""How often an order reads again after somebody else appended first."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """Who asks, through which door."""

    actor: str
    cause: str
    by_name: bool = True
    """Whether this very version was named. Triggers and schedules see a state, they name nothing."""
    sighting: Sighting | None = None
    """Triggers: what was seen, and since when."""
    override_freeze: str | None = None
    """Why it goes through a freeze that holds now; none: it does not."""


@dataclass(frozen=True, kw_only=True)
class Started:
    """The rollout that an order led to, and whether the order made it."""

    rollout: Rollout
    created: bool


def start(
    ledger: Ledger, *, plan: Plan, version: str, request: Request, now: datetime, allow_older: bool = False,
    strategy: Strategy | None = None,
) -> Started:  # fmt: skip
    """Ask for `version` to be rolled out by `plan`, with the plan's strategy or another.

    The same (model, variation, version, plan digest, strategy) asked for twice is one rollout. A version that ended
    without success starts again when asked for by name; for a trigger, something about it must have changed since.
    """
    chosen = strategy or plan.strategy
    refuse_strategy(plan, chosen)
    if chosen is Strategy.CANARY:
        refuse_in_experiment(ledger.rollouts(model=plan.model), plan)
    mine = _of_target(ledger, plan.model, plan.variation)
    stable = trusted(mine)
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
            fix=f"at once: sluice rollback {plan.model} --to {version}; ramped like a new one: --allow-older",
        )
    same = same_intent(mine, version, plan.digest, chosen)
    if same and not same[-1].is_ended:
        return Started(rollout=_let_through(ledger, same[-1], request, now), created=False)
    tried = [r for r in mine if r.requested.version == version and r.is_shadow == (chosen is Strategy.SHADOW)]
    if tried and not request.by_name and not is_new_to(tried[-1], plan, request.sighting):
        return Started(rollout=tried[-1], created=False)
    _refuse_in_freeze(ledger, plan.model, request, now)
    if chosen is Strategy.SHADOW:
        refuse_crowd(plan, mine)
        refuse_unknown(ledger, plan.model, plan.shadow.audiences if plan.shadow else (), reach="shadow")
    else:
        _make_room(ledger, plan, current(mine), version, now)
    requested = Requested(
        model=plan.model, variation=plan.variation, version=version, strategy=chosen.value,
        plan=plan.document(), plan_digest=plan.digest, actor=request.actor, cause=request.cause,
        former_stages=request.sighting.former if request.sighting else {},
    )  # fmt: skip
    return _open(ledger, requested, request, attempt=len(same), now=now)


def deploy(ledger: Ledger, *, plan: Plan, version: str, request: Request, now: datetime) -> Started:
    """Put the first build into an empty variation."""
    mine = _of_target(ledger, plan.model, plan.variation)
    stable = trusted(mine)
    if stable is not None and stable.requested.version == version:
        return Started(rollout=stable, created=False)
    if stable is not None:
        raise Refused(
            f"{plan.model}/{plan.variation} serves v{stable.requested.version} already.",
            fix=f"roll the build out: sluice rollout start {plan.model} --build {version}",
        )
    requested = Requested(
        model=plan.model, variation=plan.variation, version=version, strategy=DEPLOY,
        plan=plan.document(), plan_digest=plan.digest, actor=request.actor, cause=request.cause,
    )  # fmt: skip
    same = same_intent(mine, version, plan.digest, DEPLOY)
    if same and not same[-1].is_ended:
        return Started(rollout=_let_through(ledger, same[-1], request, now), created=False)
    _refuse_in_freeze(ledger, plan.model, request, now)
    return _open(ledger, requested, request, attempt=len(same), now=now)


def roll_back(
    ledger: Ledger, *, model: str, variation: str, version: str | None, reason: str, request: Request, now: datetime
) -> Started:
    """Go back to an earlier build at once: a new rollout whose promotion is the actor's override.

    Without `version`, back to the build that was stable before. A build whose bento is known needs no packing.
    """
    mine = _of_target(ledger, model, variation)
    stable, held = trusted(mine), current(mine)
    if stable is None:
        raise Refused(
            f"{model}/{variation} serves nothing: there is nothing to go back from.",
            fix=f"put a first build there: sluice deploy {model}",
        )
    if held is not None and held.phase is not Phase.BAKING:
        raise Refused(
            f"rollout {held.id} is {held.phase}: its candidate is not stable yet.",
            fix=f"take it back with: sluice rollout abort {held.id}",
        )
    former = former_build(mine, stable, version)
    if held is not None:
        append(ledger, held.id, lambda _: Baked(reason=f"rolled back by {request.actor}"), now)
    plan = former.plan
    requested = Requested(
        model=model, variation=variation, version=former.requested.version, strategy=ROLLBACK,
        plan=plan.document(), plan_digest=plan.digest, actor=request.actor, cause=f"{request.cause}: {reason}",
    )  # fmt: skip
    rollbacks = [r for r in mine if r.requested.strategy == ROLLBACK]
    started = _open(ledger, requested, request, attempt=len(rollbacks), now=now)
    if former.packed is None or not started.rollout.holds_target:
        return started
    packed: Packed = former.packed
    return Started(rollout=append(ledger, started.rollout.id, lambda _: packed, now), created=True)


def stable(ledger: Ledger, model: str, variation: str) -> str | None:
    """The version that a target trusts now."""
    last = trusted(_of_target(ledger, model, variation))
    return last.requested.version if last is not None else None


def replace(ledger: Ledger, *, plan: Plan, version: str, reason: str, request: Request, now: datetime) -> Started:
    """Put a build in the place of stable at once: a new rollout without steps, promoted by the actor's override."""
    mine = _of_target(ledger, plan.model, plan.variation)
    stable, held = trusted(mine), current(mine)
    if stable is None:
        raise Refused(
            f"{plan.model}/{plan.variation} serves nothing: there is nothing to replace.",
            fix=f"put a first build there: sluice deploy {plan.model} --build {version}",
        )
    same = [r for r in mine if r.requested.strategy == REPLACE and r.requested.version == version]
    if held is not None and held in same:
        return Started(rollout=_let_through(ledger, held, request, now), created=False)
    if held is not None:
        raise TargetBusy(f"rollout {held.id} of {plan.model}/{plan.variation} is {held.phase}.", fix=way_out(held))
    if stable.requested.version == version:
        raise Refused(f"{plan.model} v{version} is stable already.", fix="name another build")
    _refuse_in_freeze(ledger, plan.model, request, now)
    requested = Requested(
        model=plan.model, variation=plan.variation, version=version, strategy=REPLACE,
        plan=plan.document(), plan_digest=plan.digest, actor=request.actor, cause=f"{request.cause}: {reason}",
    )  # fmt: skip
    return _open(ledger, requested, request, attempt=len(same), now=now)


def undeploy(ledger: Ledger, *, model: str, variation: str, actor: str, reason: str, now: datetime) -> Rollout:
    """Empty a variation: its build is trusted no longer. Routes first; its service drains, then stops."""
    held = undeployable(ledger, model, variation)
    if held.phase is Phase.BAKING:
        append(ledger, held.id, lambda _: Baked(reason=f"undeployed by {actor}"), now)
    return append(ledger, held.id, lambda _: Undeployed(actor=actor, reason=reason), now)


def undeployable(ledger: Ledger, model: str, variation: str) -> Rollout:
    """The rollout whose build the variation trusts. Raises NotFound, and TargetBusy while another is under way."""
    mine = _of_target(ledger, model, variation)
    held = trusted(mine)
    if held is None:
        raise NotFound(f"{model}/{variation} serves nothing.", fix=f"sluice variation list {model}")
    for rollout in mine:
        if not rollout.is_ended and rollout.phase is not Phase.BAKING:
            raise TargetBusy(f"rollout {rollout.id} of {model}/{variation} is {rollout.phase}.", fix=way_out(rollout))
    return held


def begin(ledger: Ledger, rollout: Rollout, now: datetime) -> Rollout:
    """Let a queued rollout take its target, if it is free and this one is first in the queue."""
    mine = _of_target(ledger, *rollout.target)
    with_whom = (rollout.requested.model, rollout.plan.variation) if rollout.is_comparison else rollout.target
    stable = trusted(_of_target(ledger, *with_whom))
    is_held = rollout.requested.strategy != ROLLBACK and holding(freezes(ledger), rollout, now) is not None
    if is_held or not is_next(mine, rollout) or (rollout.is_aside and stable is None):
        return rollout
    fact = Begun(stable=stable.requested.version if stable else None)
    try:
        return ledger.append(rollout.id, rollout.seq + 1, fact, now)
    except (TargetBusy, LedgerConflict):
        return ledger.rollout(rollout.id)


def complete(ledger: Ledger, rollout_id: str, now: datetime) -> Rollout:
    """Give all traffic to a ready first build, rollback or replacement: what its actor asked for when it was ordered.

    Nothing is judged here, so whoever sees first that it is ready does it, driver or keeper.
    """
    rollout = ledger.rollout(rollout_id)
    if rollout.phase is not Phase.LAUNCHING or not rollout.ready:
        return rollout
    actor, cause = rollout.requested.actor, rollout.requested.cause
    if rollout.requested.strategy == DEPLOY:
        return append(ledger, rollout_id, lambda _: Established(actor=actor, reason="first build, probed"), now)
    if rollout.requested.strategy == ROLLBACK:
        fact = Promoted(actor=actor, reason=f"rolled back, {cause}", override=True, verdicts={})
        return append(ledger, rollout_id, lambda _: fact, now)
    if rollout.requested.strategy == REPLACE:
        fact = Promoted(actor=actor, reason=f"put in at once, {cause}", override=True, verdicts={})
        return append(ledger, rollout_id, lambda _: fact, now)
    return rollout


def pause(ledger: Ledger, rollout_id: str, *, actor: str, reason: str, now: datetime) -> Rollout:
    """Hold a rollout where it is. Guardrails go on."""
    if ledger.rollout(rollout_id).phase is Phase.PAUSED:
        return ledger.rollout(rollout_id)
    return _ordered(ledger, rollout_id, lambda _: Paused(actor=actor, reason=reason), now)


def resume(ledger: Ledger, rollout_id: str, *, actor: str, reason: str, now: datetime) -> Rollout:
    """End a pause."""
    return _ordered(ledger, rollout_id, lambda _: Resumed(actor=actor, reason=reason), now)


def approve(ledger: Ledger, rollout_id: str, *, actor: str, reason: str, now: datetime) -> Rollout:
    """Let a rollout leave the step it is at, once its gates have passed."""
    return _ordered(ledger, rollout_id, lambda r: Approved(step=r.step, actor=actor, reason=reason), now)


def promote(ledger: Ledger, rollout_id: str, *, actor: str, reason: str, now: datetime) -> Rollout:
    """Give the candidate all traffic now, by a named person's override of its gates, not of a freeze."""
    rollout = ledger.rollout(rollout_id)
    if rollout.took_over:
        return rollout
    held = holding(freezes(ledger), rollout, now)
    if held is not None:
        raise Refused(f"{rollout_id}: {held}.", fix=f"wait, or: {_through(rollout_id)} {_STILL}")
    return _ordered(
        ledger,
        rollout_id,
        lambda r: Promoted(
            actor=actor, reason=reason, override=True, verdicts={m: j.answer for m, j in r.judgements.items()}
        ),
        now,
    )


def abort(ledger: Ledger, rollout_id: str, *, actor: str, reason: str, now: datetime) -> Rollout:
    """Take all traffic back to stable, at any phase. Aborting what is aborted changes nothing."""
    rollout = ledger.rollout(rollout_id)
    if rollout.ending is Ending.ABORTED:
        return rollout
    if rollout.is_ended:
        raise Refused(
            f"rollout {rollout_id} has ended ({rollout.ending}): there is nothing left to abort.",
            fix=way_out(rollout),
        )
    return append(ledger, rollout_id, lambda _: Aborted(actor=actor, reason=reason), now)


def override_freeze(ledger: Ledger, rollout_id: str, *, actor: str, reason: str, now: datetime) -> Rollout:
    """Let a rollout begin, advance and be promoted in the freeze that holds it now, until that one ends.

    The next freeze holds it again. Refused where none holds now.
    """
    rollout = ledger.rollout(rollout_id)
    held = in_force(freezes(ledger), rollout.requested.model, now)
    if held is None:
        raise Refused(f"no freeze holds {rollout_id} now: there is nothing to override.", fix=way_out(rollout))
    if holding(freezes(ledger), rollout, now) is None:
        return rollout
    fact = FreezeOverridden(actor=actor, reason=reason, freeze=held.name, until=held.until.isoformat())
    return begin(ledger, _ordered(ledger, rollout_id, lambda _: fact, now), now)


def _let_through(ledger: Ledger, rollout: Rollout, request: Request, now: datetime) -> Rollout:
    """The rollout, on its way through the freeze that holds it, if the request says so."""
    if request.override_freeze is None or holding(freezes(ledger), rollout, now) is None:
        return rollout
    return override_freeze(ledger, rollout.id, actor=request.actor, reason=request.override_freeze, now=now)


_STILL = "Abort and rollback work all the same."


def _through(rollout_id: str) -> str:
    return f"sluice rollout override-freeze {rollout_id} --reason WHY"


def _refuse_in_freeze(ledger: Ledger, model: str, request: Request, now: datetime) -> None:
    held = in_force(freezes(ledger), model, now)
    if held is not None and request.override_freeze is None:
        raise Refused(
            f"{model}: {held}, and nothing starts or advances until then.",
            fix=f"wait, or as an admin start or deploy it with --override-freeze WHY. {_STILL}",
        )


def retry(ledger: Ledger, rollout_id: str, *, actor: str, reason: str, now: datetime) -> Rollout:
    """Try a rollout once more that ended without success, by the plan that is applied now: a new rollout.

    One that is under way already is found, not doubled.
    """
    old = ledger.rollout(rollout_id)
    if not old.is_ended or old.took_over:
        how = f"is {old.phase}" if not old.is_ended else f"has ended well ({old.ending})"
        raise Refused(f"rollout {rollout_id} {how}: there is nothing to try again.", fix=way_out(old))
    asked, request = old.requested, Request(actor=actor, cause=f"retry of {rollout_id}: {reason}")
    if asked.strategy == ROLLBACK:
        return roll_back(
            ledger, model=asked.model, variation=asked.variation, version=asked.version, reason=reason,
            request=request, now=now,
        ).rollout  # fmt: skip
    applied = ledger.applied("plan", f"{asked.model}/{asked.variation}")
    plan = Plan.recorded(applied.body) if applied is not None else old.plan
    if asked.strategy == DEPLOY:
        return deploy(ledger, plan=plan, version=asked.version, request=request, now=now).rollout
    if asked.strategy == REPLACE:
        return replace(ledger, plan=plan, version=asked.version, reason=reason, request=request, now=now).rollout
    if old.is_comparison:
        raise Refused(
            f"rollout {rollout_id} is one comparison of an experiment, which is started as a whole.",
            fix=f"start the experiment of {asked.model}/{old.plan.variation} as a whole",
        )
    if asked.strategy == REPLACE:
        return replace(
            ledger, plan=plan, version=asked.version, reason=reason, request=request, now=now
        ).rollout  # fmt: skip
    return start(
        ledger, plan=plan, version=asked.version, request=request, now=now, allow_older=True,
        strategy=Strategy(asked.strategy),
    ).rollout  # fmt: skip


def find(ledger: Ledger, name: str) -> Rollout:
    """The rollout with this id, or the latest of the model with this name."""
    try:
        return ledger.rollout(name)
    except NotFound:
        of_model = ledger.rollouts(model=name)
        if not of_model:
            raise
        return of_model[-1]


def append(ledger: Ledger, rollout_id: str, fact: Callable[[Rollout], Fact], now: datetime) -> Rollout:
    """Append a fact to whatever the rollout has become by now; reads again after somebody else appended first.

    Raises IllegalMove where the rollout does not admit the fact any more.
    """
    for _ in range(RETRIES):
        rollout = ledger.rollout(rollout_id)
        try:
            return ledger.append(rollout_id, rollout.seq + 1, fact(rollout), now)
        except LedgerConflict:
            continue
    raise LedgerConflict(f"rollout {rollout_id} keeps changing.", fix="try again.")


def _ordered(ledger: Ledger, rollout_id: str, fact: Callable[[Rollout], Fact], now: datetime) -> Rollout:
    """Append what a person asked for. Raises IllegalMove with what can be done instead."""
    try:
        return append(ledger, rollout_id, fact, now)
    except IllegalMove as error:
        raise IllegalMove(error.message, fix=way_out(ledger.rollout(rollout_id))) from error


def _open(ledger: Ledger, requested: Requested, request: Request, *, attempt: int, now: datetime) -> Started:
    name = rollout_id(requested, attempt)
    try:
        opened = ledger.open(name, requested, now)
    except LedgerConflict:
        return Started(rollout=_let_through(ledger, ledger.rollout(name), request, now), created=False)
    return Started(rollout=begin(ledger, _let_through(ledger, opened, request, now), now), created=True)


def rollout_id(requested: Requested, attempt: int) -> str:
    """The id that this intent has on its n-th attempt: two doors that ask at once make one rollout."""
    intent = (requested.model, requested.variation, requested.version, requested.plan_digest, requested.strategy)
    digest = hashlib.sha256(repr((*intent, attempt)).encode()).hexdigest()
    return f"{slug(requested.model)}-v{slug(requested.version)}-{digest[:6]}"


def _of_target(ledger: Ledger, model: str, variation: str) -> list[Rollout]:
    return [r for r in ledger.rollouts(model=model) if r.requested.variation == variation]


def _make_room(ledger: Ledger, plan: Plan, held: Rollout | None, version: str, now: datetime) -> None:
    if held is None:
        return
    match plan.on_newer:
        case OnNewer.QUEUE:
            return
        case OnNewer.REFUSE:
            raise TargetBusy(
                f"rollout {held.id} of {plan.model}/{plan.variation} is {held.phase}.",
                fix=f"wait for it, or: sluice rollout abort {held.id}",
            )
        case OnNewer.SUPERSEDE:
            if held.phase is not Phase.BAKING:
                append(ledger, held.id, lambda _: Superseded(by=f"v{version}"), now)
