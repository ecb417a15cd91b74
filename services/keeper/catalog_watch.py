"""The look at the catalog: orders a rollout for a build that a trigger points at, and reacts to withdrawn versions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.orders.give import give
from sluicegate.registry.orders.order import Abort, Order, Pause, Start
from sluicegate.registry.plan.fields import OnWithdrawn, Trigger
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.facts import Party
from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.rollout.triggers import Sighting, Withdrawal, cause, sight, triggered, withdrawal
from sluicegate.registry.words.build import Build
from sluicegate.registry.words.errors import LedgerConflict, Refused

log = structlog.get_logger("catalog_watch")

LET_GO = timedelta(seconds=5)
"""How long a trigger must point elsewhere before that counts. Some tools move an alias by deleting it and setting it
again, and a webhook may cause a look in between."""


class Catalog(Protocol):
    """What a look reads from the catalog."""

    def builds(self, model: str) -> Sequence[Build]:
        """Every build of a model. Raises CatalogUnavailable if it cannot be read, which never counts as a change."""
        ...


def look_at_catalog(ledger: Ledger, catalog: Catalog, now: datetime) -> tuple[str, ...]:
    """React to withdrawn versions, then order a rollout for every plan whose trigger points at a build.

    Returns the ids of new rollouts. Raises CatalogUnavailable before it orders anything.
    """
    plans = [plan for plan in applied_plans(ledger) if plan.trigger is not None]
    under_way = [rollout for rollout in ledger.current() if not rollout.is_ended and not rollout.took_over]
    models = {plan.model for plan in plans} | {rollout.requested.model for rollout in under_way}
    builds = {model: tuple(catalog.builds(model)) for model in sorted(models)}
    for rollout in under_way:
        _heed_withdrawal(ledger, rollout, builds[rollout.requested.model], now)
    started = (_look(ledger, plan, plan.trigger, builds[plan.model], now) for plan in plans if plan.trigger is not None)
    return tuple(name for name in started if name is not None)


def applied_plans(ledger: Ledger) -> tuple[Plan, ...]:
    """Every applied plan, sorted by name."""
    return tuple(Plan.recorded(applied.body) for applied in ledger.all_applied("plan"))


def plan_name(model: str, variation: str) -> str:
    """The name under which a target's plan is applied."""
    return f"{model}/{variation}"


def _look(ledger: Ledger, plan: Plan, trigger: Trigger, builds: Sequence[Build], now: datetime) -> str | None:
    """Follow one trigger; returns the id of the rollout that this started."""
    sighting = _remembered_sighting(ledger, plan, trigger, builds, now)
    build = triggered(trigger, builds)
    if build is None:
        return None
    start = Start(
        model=plan.model, variation=plan.variation, version=build.ref.version, plan=plan, by_name=False,
        sighting=sighting,
    )  # fmt: skip
    try:
        receipt = give(ledger, Order(act=start, actor="mlflow", party=Party.CATALOG, cause=cause(trigger)), now)
    except Refused as refused:
        _remember_refusal(ledger, plan, build, refused)
        return None
    if not receipt.created:
        return None
    log.info("rollout ordered", rollout=receipt.rollout, cause=cause(trigger))
    return receipt.rollout


def _remembered_sighting(
    ledger: Ledger, plan: Plan, trigger: Trigger, builds: Sequence[Build], now: datetime
) -> Sighting:
    """The trigger's sighting. It is stored before anything follows from it, so that a crash does not make it new
    again."""
    key = f"sight:{plan_name(plan.model, plan.variation)}:{cause(trigger)}"
    last = Sighting.recorded(ledger.recall(key))
    sighting = sight(last, trigger, builds, now)
    if sighting != last:
        ledger.remember(key, sighting.note())
    return sighting


def _heed_withdrawal(ledger: Ledger, rollout: Rollout, builds: Sequence[Build], now: datetime) -> None:
    """If the rollout's version was withdrawn in the catalog, do once what the plan says about that."""
    of_version = Selection(model=rollout.requested.model, version=rollout.requested.version)
    withdrawn = withdrawal(rollout, builds, ledger.rollouts(of_version))
    key = f"withdrawn:{rollout.id}"
    if withdrawn is Withdrawal.LEFT and not _has_let_go(ledger, key, now):
        return
    if withdrawn is None:
        _forget_let_go(ledger, key)
        return
    if ledger.recall(key) == {"found": withdrawn.value}:
        return
    try:
        _follow(ledger, rollout, withdrawn, now)
    except (Refused, LedgerConflict) as error:
        log.info("will look again", rollout=rollout.id, why=str(error))
        return
    ledger.remember(key, {"found": withdrawn.value})


def _has_let_go(ledger: Ledger, key: str, now: datetime) -> bool:
    """Whether the trigger has pointed elsewhere for long enough, or that has already been acted on."""
    note = ledger.recall(key)
    if not note:
        ledger.remember(key, {"since": now.isoformat()})
        return False
    since = note.get("since")
    if not isinstance(since, str):
        return True
    age = now - datetime.fromisoformat(since)
    if age < timedelta(0):  # the clock has been set back
        ledger.remember(key, {"since": now.isoformat()})
    return age >= LET_GO


def _forget_let_go(ledger: Ledger, key: str) -> None:
    """Drop the note: the trigger points at the version again, before anything was done."""
    if "since" in (ledger.recall(key) or {}):
        ledger.remember(key, {})


def _follow(ledger: Ledger, rollout: Rollout, withdrawn: Withdrawal, now: datetime) -> None:
    reason = _why(rollout, withdrawn)
    log.warning("version taken back", rollout=rollout.id, why=reason)
    policy = OnWithdrawn.ABORT if withdrawn is Withdrawal.DELETED else rollout.plan.on_withdrawn
    match policy:
        case OnWithdrawn.IGNORE:
            return
        case OnWithdrawn.PAUSE if rollout.phase is not Phase.QUEUED:
            act: Pause | Abort = Pause(rollout=rollout.id)
        case OnWithdrawn.PAUSE | OnWithdrawn.ABORT:
            act = Abort(rollout=rollout.id)
    give(ledger, Order(act=act, actor="mlflow", party=Party.CATALOG, cause="mlflow", reason=reason), now)


def _why(rollout: Rollout, withdrawn: Withdrawal) -> str:
    match withdrawn:
        case Withdrawal.DELETED:
            return f"{rollout.candidate} was deleted from MLflow"
        case Withdrawal.LEFT:
            return f"the trigger {rollout.requested.cause} does not point at {rollout.candidate} any more"


def _remember_refusal(ledger: Ledger, plan: Plan, build: Build, refused: Refused) -> None:
    """Log a refusal once, not at every look."""
    key = f"door:{plan_name(plan.model, plan.variation)}"
    refusal: dict[str, object] = {"version": build.ref.version, "refused": refused.message}
    if ledger.recall(key) != refusal:
        ledger.remember(key, refusal)
        log.info("not started", model=plan.model, version=build.ref.version, why=str(refused))
