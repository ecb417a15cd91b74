"""Overview: what serves whom, and what needs a person."""

from __future__ import annotations

from starlette.requests import Request

from services.console.pages.rendering import Endpoint, Found, template
from services.console.pages.views import view
from services.console.ports import Desk


def page(desk: Desk) -> Endpoint:
    """The first page."""

    def find(_: Request) -> Found:
        rollouts = desk.ledger.rollouts()
        ended = [rollout for rollout in reversed(rollouts) if rollout.is_ended][:5]
        return {
            "served": desk.overview(None),
            "going_on": [view(desk, rollout) for rollout in reversed(rollouts) if not rollout.is_ended],
            "ended": [view(desk, rollout) for rollout in ended],
        }

    return template(desk, "overview.html", find)
