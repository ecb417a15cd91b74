"""Signing in with a token, and signing out."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sluicegate.services.console.pages.rendering import Endpoint, render
from sluicegate.services.console.sessions import Sessions
from sluicegate.services.console.strangers import Strangers
from sluicegate.services.console.tokens import Tokens, expiry_sentence

LARGEST_FORM = 16 * 1024
"""Bytes; far more than a token and a name need."""
_UNKNOWN = "Nobody was given that token."


def page(tokens: Tokens, sessions: Sessions, strangers: Strangers) -> Endpoint:
    """Shows the sign-in form, and handles what it sends."""

    async def endpoint(request: Request) -> Response:
        if request.method == "GET":
            return render(request, "login.html", {"wrong": None})
        if int(request.headers.get("content-length") or LARGEST_FORM) >= LARGEST_FORM:
            return Response("too large", status_code=413)
        form = await request.form(max_fields=4)
        token = str(form.get("token") or "")
        name = str(form.get("name") or "console")
        if await run_in_threadpool(tokens.caller, token) is None:
            expired = await run_in_threadpool(tokens.expired, token)
            seconds = await strangers.met(request, name if expired is None else expired.name)
            if seconds is not None:
                return Response("too many wrong tries", status_code=429, headers={"retry-after": f"{seconds:.0f}"})
            return render(
                request, "login.html", {"wrong": _UNKNOWN if expired is None else expiry_sentence(expired)}, status=401
            )
        sessions.open(request.session, token, name)
        return RedirectResponse("/", status_code=303)

    return endpoint


def leave(sessions: Sessions) -> Endpoint:
    """Sign out: the session ends on the server, so that copies of its cookie are worthless."""

    async def endpoint(request: Request) -> Response:
        await run_in_threadpool(sessions.end, request.session)
        return RedirectResponse("/login", status_code=303)

    return endpoint
