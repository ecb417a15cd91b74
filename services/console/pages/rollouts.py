"""Rollouts: all of them, newest first, by model and state."""

from __future__ import annotations

from starlette.requests import Request

from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.services.console.pages.rendering import Context, Endpoint, template
from sluicegate.services.console.pages.views import line
from sluicegate.services.console.ports import Desk

PAGE = 50
"""Rollouts on one page."""
UNDER_WAY = "under way"
"""What the filter calls every state but the ended ones."""


def page(desk: Desk) -> Endpoint:
    """The list of rollouts."""

    def context(request: Request) -> Context:
        model, state, text, before = (request.query_params.get(name, "") for name in ("model", "state", "q", "before"))
        known = tuple(reversed(desk.ledger.rollouts()))
        wanted = [rollout for rollout in known if _is_wanted(rollout, model, state, text.strip().lower())]
        ids = [rollout.id for rollout in wanted]
        start = ids.index(before) + 1 if before in ids else 0
        shown = wanted[start : start + PAGE]
        return {
            "rollouts": [line(desk, rollout) for rollout in shown],
            "models": sorted({rollout.requested.model for rollout in known}),
            "states": [UNDER_WAY, *sorted({_state(rollout) for rollout in known})],
            "model": model,
            "state": state,
            "text": text,
            "next_before": shown[-1].id if start + PAGE < len(wanted) else None,
            "total": len(wanted),
        }

    return template(desk, "rollouts.html", context)


def _is_wanted(rollout: Rollout, model: str, state: str, text: str) -> bool:
    is_of_state = not rollout.is_ended if state == UNDER_WAY else state in ("", _state(rollout))
    is_of_text = text in f"{rollout.id} {rollout.requested.variation} {rollout.reason}".lower()
    return model in ("", rollout.requested.model) and is_of_state and is_of_text


def _state(rollout: Rollout) -> str:
    return (rollout.ending or rollout.phase).value
