"""Views: rollouts as pages show them."""

from __future__ import annotations

import sys

from sluicegate.registry.report.view import RolloutView, held, rollout_view
from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.services.console.ports import Desk

_PLENTY = (0, sys.maxsize)


def line(desk: Desk, rollout: Rollout) -> RolloutView:
    """The view that a list has a line for: gates tell their answers alone. One that has ended has no requests."""
    requests = None if rollout.is_ended else desk.requests(rollout)
    return rollout_view(desk.ledger, rollout, desk.clock(), requests=requests, figures=False)


def waiting(desk: Desk, rollout: Rollout) -> RolloutView | None:
    """The view of a rollout that goes on only when a person acts; None for others.

    Requests are counted only where they decide it, so that all rollouts under way can be asked.
    """
    if rollout.phase is Phase.PAUSED:
        return rollout_view(desk.ledger, rollout, desk.clock(), figures=False)
    at_most = held(desk.ledger, rollout, desk.clock(), _PLENTY)
    found = line(desk, rollout) if at_most is not None and at_most.person else None
    return found if found is not None and found.needs_person else None
