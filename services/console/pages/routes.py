"""Which page answers which path."""

from __future__ import annotations

from starlette.routing import Route

from services.console.pages import activity, login, model, overview, rollout, rollouts
from services.console.ports import Desk
from services.console.tokens import Tokens


def page_routes(desk: Desk, tokens: Tokens) -> list[Route]:
    """Every page."""
    return [
        Route("/", overview.page(desk), methods=["GET"]),
        Route("/rollouts", rollouts.page(desk), methods=["GET"]),
        Route("/rollouts/{id}", rollout.page(desk), methods=["GET"]),
        Route("/rollouts/{id}/{act}", rollout.order(desk), methods=["POST"]),
        Route("/models/{model}", model.page(desk), methods=["GET"]),
        Route("/activity", activity.page(desk), methods=["GET"]),
        Route("/login", login.page(tokens), methods=["GET", "POST"]),
        Route("/logout", login.leave, methods=["POST"]),
    ]
