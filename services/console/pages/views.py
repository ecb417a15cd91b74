"""Views: rollouts as pages show them."""

from __future__ import annotations

from registry.rollout import Rollout
from registry.view import RolloutView, rollout_view
from services.console.ports import Desk


def view(desk: Desk, rollout: Rollout) -> RolloutView:
    """The same view that the API and the CLI give. One that has ended is not asked for its requests."""
    requests = None if rollout.is_ended else desk.requests(rollout)
    return rollout_view(desk.ledger, rollout, desk.clock(), requests=requests)
