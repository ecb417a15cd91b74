"""Rollouts: the list of all, newest first, filtered by model, state and text."""

from __future__ import annotations

from dataclasses import replace

from starlette.requests import Request

from sluicegate.registry.ledger.reading import Common
from sluicegate.registry.ledger.selection import SEARCHED, Selection
from sluicegate.registry.rollout.rollout import Ending, Phase
from sluicegate.services.console.pages.rendering import Context, Endpoint, template
from sluicegate.services.console.pages.views import lines
from sluicegate.services.console.ports import Desk

PAGE = 50
"""Rollouts on one page."""
MOST = 1_000
"""The count of matching rollouts stops here."""
UNDER_WAY = "under way"
"""The filter for rollouts that have not ended."""
STATES = [UNDER_WAY, Phase.PAUSED, *sorted(Ending)]
"""The states that the page offers as filters; the URL accepts every other phase too."""


def page(desk: Desk) -> Endpoint:
    """The list of rollouts."""

    def context(request: Request) -> Context:
        model, state, text, before = (request.query_params.get(name, "") for name in ("model", "state", "q", "before"))
        wanted = _selection(model, state, text.strip())
        rollouts = desk.ledger.rollouts(replace(wanted, before=before or None, newest=PAGE + 1))[::-1]
        shown = rollouts[:PAGE]
        return {
            "rollouts": lines(desk, shown, Common(desk.ledger)),
            "models": desk.ledger.models(),
            "states": STATES,
            "model": model,
            "state": state,
            "text": text,
            "next_before": shown[-1].id if len(rollouts) > PAGE else None,
            "total": desk.ledger.count(wanted, most=MOST + 1),
            "most": MOST,
            "searched": SEARCHED,
        }

    return template(desk, "rollouts.html", context)


def _selection(model: str, state: str, text: str) -> Selection:
    is_ended = False if state == UNDER_WAY else None
    return Selection(
        model=model or None, state=state if state and state != UNDER_WAY else None, is_ended=is_ended, text=text
    )
