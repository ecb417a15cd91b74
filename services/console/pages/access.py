"""Access: who has which role, and who asked for what. For admins."""

from __future__ import annotations

from starlette.requests import Request

from sluicegate.registry.orders.authority import role_of_prefect
from sluicegate.registry.words.errors import Forbidden
from sluicegate.registry.words.roles import Role
from sluicegate.services.console.pages.rendering import Context, Endpoint, template
from sluicegate.services.console.ports import Desk
from sluicegate.services.console.tokens import Tokens


def page(desk: Desk, tokens: Tokens) -> Endpoint:
    """The page of tokens and calls."""

    def context(request: Request) -> Context:
        if request.state.caller.role < Role.ADMIN:
            raise Forbidden("this page is for admins.")
        prefect = role_of_prefect(desk.ledger).title
        return {"tokens": tokens.given(), "prefect": prefect, "calls": desk.calls.latest(limit=100)}

    return template(desk, "access.html", context)
