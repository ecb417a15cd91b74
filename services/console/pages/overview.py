"""Overview: what serves whom, and what needs a person."""

from __future__ import annotations

from starlette.requests import Request

from sluicegate.services.console.fleet import stretch
from sluicegate.services.console.pages.rendering import Context, Endpoint, template
from sluicegate.services.console.pages.views import line, waiting
from sluicegate.services.console.ports import Desk

MODELS = 25
"""Models on one page."""
ROLLOUTS = 25
"""Rollouts under way that are listed."""


def page(desk: Desk) -> Endpoint:
    """The first page."""

    def context(request: Request) -> Context:
        rollouts = desk.ledger.rollouts()
        under_way = [rollout for rollout in reversed(rollouts) if not rollout.is_ended]
        ended = [rollout for rollout in reversed(rollouts) if rollout.is_ended][:5]
        fleet = stretch(desk.ledger, after=request.query_params.get("after"), limit=MODELS)
        return {
            "fleet": fleet,
            "served": desk.overview(fleet.models),
            "waiting": [view for rollout in under_way if (view := waiting(desk, rollout)) is not None],
            "under_way": [line(desk, rollout) for rollout in under_way[:ROLLOUTS]],
            "under_way_total": len(under_way),
            "ended": [line(desk, rollout) for rollout in ended],
        }

    return template(desk, "overview.html", context)
