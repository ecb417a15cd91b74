"""Counted: what the telemetry says of a rollout, or that it cannot be read. State and orders need the ledger alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sluicegate.registry.report.overview import Served
from sluicegate.registry.report.report import Evidence
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import Unreachable
from sluicegate.services.console.ports import Desk


def requests(desk: Desk, rollout: Rollout) -> tuple[int, int] | None:
    """Requests assigned to (stable, candidate) at the present weight; None where nobody can count them now."""
    try:
        return desk.requests(rollout)
    except Unreachable:
        return None


def generated(desk: Desk, rollout: Rollout) -> int | None:
    """Requests that no caller sent; None where nobody can count them now, or the plan asks for none."""
    try:
        return desk.generated(rollout) if rollout.plan.generate is not None else None
    except Unreachable:
        return None


def errors(desk: Desk, rollout: Rollout) -> Mapping[str, str]:
    """What the errors of each arm died of; nothing where that cannot be read."""
    try:
        return desk.errors(rollout)
    except Unreachable:
        return {}


def evidence(desk: Desk, rollout: Rollout) -> tuple[Evidence, Unreachable | None]:
    """What telemetry adds to a rollout's page, or why it adds nothing."""
    try:
        return desk.evidence(rollout), None
    except Unreachable as error:
        return Evidence(), error


def overview(desk: Desk, models: Collection[str]) -> tuple[Sequence[Served], Unreachable | None]:
    """Every build that an audience gets, or why that cannot be said."""
    try:
        return desk.overview(models), None
    except Unreachable as error:
        return (), error
