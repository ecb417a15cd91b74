"""Access: who has which role, and who asked for what. For admins."""

from __future__ import annotations

from starlette.requests import Request

from registry.errors import Forbidden
from services.console.acts import Role
from services.console.pages.rendering import Endpoint, Found, template
from services.console.ports import Desk
from services.console.tokens import Tokens


def page(desk: Desk, tokens: Tokens) -> Endpoint:
    """The page of tokens and calls."""

    def find(request: Request) -> Found:
        if request.state.caller.role < Role.ADMIN:
            raise Forbidden("this page is for admins.")
        return {"tokens": tokens.given(), "calls": desk.calls.latest(limit=100)}

    return template(desk, "access.html", find)
