"""Audiences: who they are, which variations they get, and what a request would get."""

from __future__ import annotations

from starlette.requests import Request

from sluicegate.registry.audience.sentence import sentence
from sluicegate.registry.audience.trial import Trial
from sluicegate.registry.orders.audience_store import audiences
from sluicegate.registry.rollout.standing import standings
from sluicegate.registry.words.errors import SluiceError
from sluicegate.services.console.acts.audiences import audience_view
from sluicegate.services.console.pages.rendering import Context, Endpoint, template
from sluicegate.services.console.ports import Desk


def page(desk: Desk) -> Endpoint:
    """The page of audiences, with its tester."""

    def context(request: Request) -> Context:
        trial_form = {name: request.query_params.get(name, "") for name in ("model", "metadata", "unit")}
        trial, refused = _try(desk, **trial_form) if trial_form["model"] else (None, None)
        return {
            "audiences": [
                audience_view(desk.ledger, audience) | {"who": sentence(audience.condition)}
                for audience in audiences(desk.ledger)
            ],
            "models": sorted({standing.model for standing in standings(desk.ledger.rollouts())}),
            "trial_form": trial_form,
            "trial": trial,
            "refused": refused,
        }

    return template(desk, "audiences.html", context)


def _try(desk: Desk, *, model: str, metadata: str, unit: str) -> tuple[Trial | None, str | None]:
    pairs = [line.partition("=") for line in metadata.splitlines() if line.strip()]
    try:
        return desk.try_out(model, {key.strip(): value.strip() for key, _, value in pairs}, unit or None), None
    except SluiceError as error:
        return None, str(error)
