"""The look at the catalog: the order that follows from what a plan's trigger points at, and what was taken back."""

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
"""How long a trigger must point elsewhere to be believed: an alias that is moved by taking it away and setting it again
has not changed, and a webhook tells of the moment in between."""


class Catalog(Protocol):
    """What a look needs from the catalog."""

    def builds(self, model: str) -> Sequence[Build]:
        """Every build of a model. Raises CatalogUnavailable when it cannot be read, which is never a change."""
        ...


def look_at_catalog(ledger: Ledger, catalog: Catalog, now: datetime) -> tuple[str, ...]:
    """Take back what was withdrawn, then order a rollout for every plan whose trigger points at a build.

    The ids of the rollouts that are new. Raises CatalogUnavailable; nothing follows from a catalog half read.
    """
    plans = [plan for plan in applied_plans(ledger) if plan.trigger is not None]
    under_way = [rollout for rollout in ledger.current() if not rollout.is_ended and not rollout.took_over]
    models = {plan.model for plan in plans} | {rollout.requested.model for rollout in under_way}
    seen = {model: tuple(catalog.builds(model)) for model in sorted(models)}
    for rollout in under_way:
        _take_back(ledger, rollout, seen[rollout.requested.model], now)
    started = (_look(ledger, plan, plan.trigger, seen[plan.model], now) for plan in plans if plan.trigger is not None)
    return tuple(name for name in started if name is not None)


def applied_plans(ledger: Ledger) -> tuple[Plan, ...]:
    """Every plan that somebody applied, by name."""
    return tuple(Plan.recorded(applied.body) for applied in ledger.all_applied("plan"))


def plan_name(model: str, variation: str) -> str:
    """The name under which a target's plan is applied."""
    return f"{model}/{variation}"


def _look(ledger: Ledger, plan: Plan, trigger: Trigger, builds: Sequence[Build], now: datetime) -> str | None:
    """Look through one trigger; the id of the rollout that this started."""
    seen = _remembered_sighting(ledger, plan, trigger, builds, now)
    build = triggered(trigger, builds)
    if build is None:
        return None
    start = Start(
        model=plan.model, variation=plan.variation, version=build.ref.version, plan=plan, by_name=False, sighting=seen
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
    """The sighting, made durable before anything follows from it: so a crash in between does not make it news again."""
    key = f"sight:{plan_name(plan.model, plan.variation)}:{cause(trigger)}"
    known = Sighting.recorded(ledger.recall(key))
    seen = sight(known, trigger, builds, now)
    if seen != known:
        ledger.remember(key, seen.note())
    return seen


def _take_back(ledger: Ledger, rollout: Rollout, builds: Sequence[Build], now: datetime) -> None:
    """Do, once, what the plan says of a version that was taken back in the catalog."""
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
    """Whether the trigger has pointed elsewhere for long enough, or that was followed already."""
    known = ledger.recall(key)
    if not known:
        ledger.remember(key, {"since": now.isoformat()})
        return False
    since = known.get("since")
    if not isinstance(since, str):
        return True
    age = now - datetime.fromisoformat(since)
    if age < timedelta(0):  # the clock was set back since
        ledger.remember(key, {"since": now.isoformat()})
    return age >= LET_GO


def _forget_let_go(ledger: Ledger, key: str) -> None:
    """The trigger points at the version again, before anything followed."""
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
    """Say a refusal once, not at every look."""
    key = f"door:{plan_name(plan.model, plan.variation)}"
    refusal: dict[str, object] = {"version": build.ref.version, "refused": refused.message}
    if ledger.recall(key) != refusal:
        ledger.remember(key, refusal)
        log.info("not started", model=plan.model, version=build.ref.version, why=str(refused))
