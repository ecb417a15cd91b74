"""Audiences: who they are, which variations they get, and what a request would get."""

from __future__ import annotations

from starlette.requests import Request

from registry.audience import Condition
from registry.audience_file import condition_written
from registry.audience_store import audiences, shares, users
from registry.errors import SluiceError
from registry.standing import standings
from registry.trial import Trial
from services.console.pages.rendering import Endpoint, Found, template
from services.console.ports import Desk


def page(desk: Desk) -> Endpoint:
    """The page of audiences, with its tester."""

    def find(request: Request) -> Found:
        asked = {name: request.query_params.get(name, "") for name in ("model", "metadata", "unit")}
        trial, refused = _try(desk, **asked) if asked["model"] else (None, None)
        return {
            "audiences": [_shown(desk, each.name, each.description, each.condition) for each in audiences(desk.ledger)],
            "models": sorted({standing.model for standing in standings(desk.ledger.rollouts())}),
            "asked": asked,
            "trial": trial,
            "refused": refused,
        }

    return template(desk, "audiences.html", find)


def _shown(desk: Desk, name: str, description: str, condition: Condition) -> Found:
    found = users(desk.ledger, name)
    return {
        "name": name,
        "description": description,
        "when": condition_written(condition),
        "users": [(model, shares(connection)) for model, connection in found.items()],
    }


def _try(desk: Desk, *, model: str, metadata: str, unit: str) -> tuple[Trial | None, str | None]:
    pairs = [line.partition("=") for line in metadata.splitlines() if line.strip()]
    try:
        return desk.try_out(model, {key.strip(): value.strip() for key, _, value in pairs}, unit or None), None
    except SluiceError as error:
        return None, str(error)
