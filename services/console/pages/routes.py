"""The routes of all pages."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sluicegate.services.console.pages import (
    access,
    activity,
    audiences,
    comparing,
    experiments,
    glossary,
    health,
    login,
    logs,
    model,
    overview,
    proposals,
    rollout,
    rollouts,
    search,
)
from sluicegate.services.console.ports import Desk
from sluicegate.services.console.sessions import Sessions
from sluicegate.services.console.strangers import Strangers
from sluicegate.services.console.tokens import Tokens
from sluicegate.services.report.page import part_styles


def page_routes(desk: Desk, tokens: Tokens, sessions: Sessions, strangers: Strangers) -> list[Route]:
    """Every page."""
    return [
        Route("/", overview.page(desk), methods=["GET"]),
        Route("/rollouts", rollouts.page(desk), methods=["GET"]),
        Route("/rollouts/compare", comparing.page(desk), methods=["GET"]),
        Route("/rollouts/{id}", rollout.page(desk), methods=["GET"]),
        Route("/rollouts/{id}/logs", logs.page(desk), methods=["GET"]),
        Route("/rollouts/{id}/report", rollout.whole_report(desk), methods=["GET"]),
        Route("/rollouts/{id}/{act}", rollout.order(desk), methods=["POST"]),
        Route("/models/{model}/builds/{version}/run", model.training_run(desk), methods=["GET"]),
        Route("/models/{model}", model.page(desk), methods=["GET"]),
        Route("/experiments", experiments.listing(desk), methods=["GET"]),
        Route("/experiments/{id}", experiments.page(desk), methods=["GET"]),
        Route("/experiments/{id}/{act}", experiments.order(desk), methods=["POST"]),
        Route("/audiences", audiences.page(desk), methods=["GET"]),
        Route("/audiences/{model}/order", audiences.reorder(desk), methods=["POST"]),
        Route("/proposals/{id}/{act}", proposals.decide(desk), methods=["POST"]),
        Route("/activity", activity.page(desk), methods=["GET"]),
        Route("/search", search.page(desk), methods=["GET"]),
        Route("/glossary", glossary.page(desk), methods=["GET"]),
        Route("/health", health.page(desk), methods=["GET"]),
        Route("/access", access.page(desk), methods=["GET"]),
        Route("/parts.css", parts_css, methods=["GET"]),
        Route("/login", login.page(tokens, sessions, strangers), methods=["GET", "POST"]),
        Route("/logout", login.leave(sessions), methods=["POST"]),
    ]


async def parts_css(_: Request) -> Response:
    """The styles of the report's parts, for the pages that show them."""
    return Response(part_styles(), media_type="text/css", headers={"cache-control": "max-age=3600"})
