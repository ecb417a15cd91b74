"""The look at the catalog: every applied plan with a trigger, and the order that follows from what it points at."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import structlog

from registry import orders
from registry.build import Build
from registry.doors import cause, triggered
from registry.errors import Refused
from registry.ledger import Ledger
from registry.plan import Plan

log = structlog.get_logger("doors")


class Catalog(Protocol):
    """What a look needs from the catalog."""

    def builds(self, model: str) -> Sequence[Build]:
        """Every build of a model. Raises CatalogUnavailable when it cannot be read, which is never a change."""
        ...


def look_at_catalog(ledger: Ledger, catalog: Catalog, now: datetime) -> tuple[str, ...]:
    """Order a rollout for every plan whose trigger points at a build; the ids of those that are new."""
    started = []
    for plan in applied_plans(ledger):
        if plan.trigger is None:
            continue
        build = triggered(plan.trigger, catalog.builds(plan.model))
        if build is None:
            continue
        request = orders.Request(actor="mlflow", cause=cause(plan.trigger), by_name=False)
        try:
            order = orders.start(ledger, plan=plan, version=build.ref.version, request=request, now=now)
        except Refused as refused:
            _remember_refusal(ledger, plan, build, refused)
            continue
        if order.created:
            log.info("rollout ordered", rollout=order.rollout.id, cause=request.cause)
            started.append(order.rollout.id)
    return tuple(started)


def applied_plans(ledger: Ledger) -> tuple[Plan, ...]:
    """Every plan that somebody applied, by name."""
    return tuple(Plan.recorded(applied.body) for applied in ledger.all_applied("plan"))


def plan_name(model: str, variation: str) -> str:
    """The name under which a target's plan is applied."""
    return f"{model}/{variation}"


def _remember_refusal(ledger: Ledger, plan: Plan, build: Build, refused: Refused) -> None:
    """Say a refusal once, not at every look."""
    key = f"door:{plan_name(plan.model, plan.variation)}"
    said: dict[str, object] = {"version": build.ref.version, "refused": refused.message}
    if ledger.recall(key) != said:
        ledger.remember(key, said)
        log.info("not started", model=plan.model, version=build.ref.version, why=str(refused))
