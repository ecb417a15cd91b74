"""Logs of keeper, drivers and the candidate's service about a rollout. Only for operators, as logs may contain data."""

from __future__ import annotations

from itertools import groupby

from starlette.requests import Request

from sluicegate.registry.orders.naming import find
from sluicegate.registry.words.errors import Forbidden
from sluicegate.registry.words.roles import Role
from sluicegate.services.console.pages.rendering import Context, Endpoint, template
from sluicegate.services.console.ports import Desk

LINES = 200
"""The number of lines that are shown of each source, the newest."""


def page(desk: Desk) -> Endpoint:
    """The page of a rollout's logs."""

    def context(request: Request) -> Context:
        if request.state.caller.role < Role.OPERATOR:
            raise Forbidden("logs are for operators.", fix="ask an admin: sluice token give NAME --role operator")
        rollout = find(desk.ledger, request.path_params["id"])
        lines = desk.logs(rollout, LINES)
        by_source = [
            (source, [line.text for line in group]) for source, group in groupby(lines, lambda one: one.source)
        ]
        return {"rollout": rollout, "sources": by_source, "most": LINES}

    return template(desk, "logs.html", context)
