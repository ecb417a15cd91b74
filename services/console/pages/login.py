"""Signing in with a token, and out again."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sluicegate.services.console.access import open_session
from sluicegate.services.console.pages.rendering import Endpoint, render
from sluicegate.services.console.tokens import Tokens

LARGEST_FORM = 16 * 1024
"""Bytes; a token and a name are far below."""


def page(tokens: Tokens) -> Endpoint:
    """The form, and what it sends."""

    async def endpoint(request: Request) -> Response:
        if request.method == "GET":
            return render(request, "login.html", {"wrong": False})
        if int(request.headers.get("content-length") or LARGEST_FORM) >= LARGEST_FORM:
            return Response("too large", status_code=413)
        form = await request.form(max_fields=4)
        token = str(form.get("token") or "")
        if await run_in_threadpool(tokens.caller, token) is None:
            return render(request, "login.html", {"wrong": True}, status=401)
        open_session(request, token, str(form.get("name") or "console"))
        return RedirectResponse("/", status_code=303)

    return endpoint


async def leave(request: Request) -> Response:
    """Forget the browser."""
    request.session.clear()
    return RedirectResponse("/login", status_code=303)
