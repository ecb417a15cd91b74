"""The console's application: access, headers, routes."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sluicegate.registry.words.errors import Forbidden, SluiceError
from sluicegate.registry.words.roles import Role
from sluicegate.services.console import api
from sluicegate.services.console.access import OPEN, caller, expired
from sluicegate.services.console.acts.telemetry import INTAKE
from sluicegate.services.console.joining import PATH, joining_routes
from sluicegate.services.console.pages.routes import page_routes
from sluicegate.services.console.ports import Desk
from sluicegate.services.console.problems import problem
from sluicegate.services.console.sessions import LIFE, Sessions
from sluicegate.services.console.strangers import Strangers
from sluicegate.services.console.tokens import Token, Tokens, expiry_sentence
from sluicegate.services.console.webhook import receiver

_HEADERS = (
    (b"content-security-policy", b"default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class Guard:
    """Refuses unauthenticated requests, and adds security headers to every response."""

    def __init__(self, app: ASGIApp, tokens: Tokens, sessions: Sessions, strangers: Strangers) -> None:
        self._app = app
        self._tokens = tokens
        self._sessions = sessions
        self._strangers = strangers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(header for header in _HEADERS if header[0] not in own)]
            await send(message)

        request = Request(scope)
        path = request.url.path
        if path in OPEN or path.startswith("/static/"):
            await self._app(scope, receive, send_with_headers)
            return
        try:
            who = await run_in_threadpool(caller, request, self._tokens, self._sessions)
            token = None if who is not None else await run_in_threadpool(expired, request, self._tokens)
        except SluiceError as error:  # such as a ledger that hangs, so that the token cannot be looked up
            await problem(error)(scope, receive, send_with_headers)
            return
        if who is not None and not who.role.may(Role.VIEWER) and not _is_for(who.role, path):
            refusal = problem(
                Forbidden(f"the token of {who.name}, a {who.role.title}'s, may not read.", fix=_ASK_AN_ADMIN)
            )
            await refusal(scope, receive, send_with_headers)
            return
        if who is not None:
            request.state.caller = who
            request.state.is_let_in = lambda: caller(request, self._tokens, self._sessions) is not None
            await self._app(scope, receive, send_with_headers)
            return
        seconds = None
        if request.headers.get("authorization"):
            name = token.name if token is not None else request.headers.get("x-sluice-actor", "api")
            seconds = await self._strangers.met(request, name)
        await _stranger(request, seconds, token)(scope, receive, send_with_headers)


def _is_for(role: Role, path: str) -> bool:
    """Whether tokens of this role exist for this path."""
    match role:
        case Role.GATEWAY:
            return path == PATH or path.startswith(f"{PATH}/")
        case Role.REPORTER:
            return path in INTAKE
        case _:
            return False


_ASK_AN_ADMIN = "ask an admin for a token that may read: sluice token give NAME --role viewer"
_WAY_IN = "send Authorization: Bearer TOKEN; `sluice env` prints the admin's token, `sluice token give` creates others."


def _lacking(request: Request) -> str:
    """Why a request is refused. A wrong token and a missing one get different messages."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme and (scheme.lower() != "bearer" or not token.strip()):
        return f"a bearer token is required, but the Authorization header has the scheme {scheme[:20]!r} or no token."
    if token:
        return "this token is not known: it was revoked, belongs to another installation or is incomplete."
    if request.session.get("token"):
        return "this browser's session has ended, its token was revoked, or the form is out of date: sign in again."
    return "a token is required."


def _stranger(request: Request, seconds: float | None, token: Token | None) -> ASGIApp:
    if seconds is not None:
        return Response("too many wrong attempts", status_code=429, headers={"retry-after": f"{seconds:.0f}"})
    if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("/login", status_code=303)
    detail, fix = _lacking(request), _WAY_IN
    if token is not None:
        detail = expiry_sentence(token)
        fix = f"ask an admin for another: sluice token give {token.name} --role {token.role.title}"
    body = {"title": "Unauthorized", "detail": detail, "status": 401, "fix": fix}
    headers = {"www-authenticate": "Bearer"}
    return JSONResponse(body, status_code=401, media_type="application/problem+json", headers=headers)


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, SluiceError)
    return problem(error)


def create(desk: Desk, hosts: list[str], *, secure: bool = False) -> Starlette:
    """The application. `hosts` are the host names that it accepts; all others are refused, against DNS rebinding.

    `secure`: it is reached only by TLS, and browsers send its cookie only over TLS.
    """

    async def healthz(_: Request) -> JSONResponse:
        return JSONResponse({"alive": True})

    async def metrics(_: Request) -> Response:
        text = await run_in_threadpool(desk.metrics)
        return Response(text, media_type="text/plain; version=0.0.4")

    tokens = Tokens(desk.ledger, desk.admin_token, desk.clock)
    sessions, strangers = Sessions(desk.ledger, desk.clock), Strangers(desk)
    static = Path(__file__).parent / "static"
    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/metrics", metrics),
            Route("/webhooks/mlflow", receiver(desk), methods=["POST"]),
            Mount("/static", StaticFiles(directory=static)),
            *api.routes(desk),
            *joining_routes(desk),
            *page_routes(desk, tokens, sessions, strangers),
        ],
        exception_handlers={SluiceError: _problem},
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=hosts),
            Middleware(
                SessionMiddleware,
                secret_key=desk.session_secret,
                session_cookie="sluice",
                same_site="strict",
                https_only=secure,
                max_age=int(LIFE.total_seconds()),
            ),
            Middleware(Guard, tokens=tokens, sessions=sessions, strangers=strangers),
        ],
    )
