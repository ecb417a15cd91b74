"""Views: rollouts, and which builds answer which audience, as pages show them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import groupby

from sluicegate.registry.ledger.reading import Common, read_for_policy, read_for_view
from sluicegate.registry.report.overview import Served
from sluicegate.registry.report.view import RolloutView, next_decision, rollout_view
from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.words.metric import Arm
from sluicegate.services.console import counted
from sluicegate.services.console.ports import Desk

_PLENTY = (0, sys.maxsize)


def line(desk: Desk, rollout: Rollout, common: Common) -> RolloutView:
    """The view that a list has a line for. Of one that has ended there are no requests, and answers alone."""
    if rollout.is_ended:
        return rollout_view(read_for_policy(desk.ledger, rollout, common), desk.clock())
    return rollout_view(read_for_view(desk.ledger, rollout, common), desk.clock(), counted.requests(desk, rollout))


def waiting(desk: Desk, rollout: Rollout, common: Common) -> RolloutView | None:
    """The view of a rollout that goes on only when a person acts; None for others.

    Requests are counted only where they decide it, so that all rollouts under way can be asked.
    """
    record = read_for_policy(desk.ledger, rollout, common)
    if rollout.phase is Phase.PAUSED:
        return rollout_view(record, desk.clock())
    at_most = next_decision(record, desk.clock(), _PLENTY)
    if at_most is None or not at_most.person:
        return None
    view = rollout_view(record, desk.clock(), counted.requests(desk, rollout))
    return view if view.needs_person else None


def by_audience(served: Sequence[Served]) -> list[tuple[str, list[list[Served]]]]:
    """The models, each with what serves each of its audiences."""
    return [
        (model, [_stable_first(group) for _, group in groupby(rows, key=lambda row: row.audience)])
        for model, rows in groupby(served, key=lambda row: row.model)
    ]


def _stable_first(rows: Iterable[Served]) -> list[Served]:
    return sorted(rows, key=lambda row: row.arm != Arm.STABLE)
