"""The JSON API: everything the CLI does. Errors are RFC 9457 problems."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from registry.errors import InvalidDocument, NotFound, Refused, SluiceError, Unreachable, UsageError
from services.console.acts import Asked, Operation, table
from services.console.ports import Desk

LARGEST_BODY = 1 << 20
"""Bytes of a request body; more is refused."""


def routes(desk: Desk) -> list[Route]:
    """The API's routes."""
    return [Route(it.path, _endpoint(it), methods=[it.method]) for it in table(desk)]


def _endpoint(operation: Operation) -> Callable[[Request], Awaitable[JSONResponse]]:
    """An endpoint: reads the body, runs the act in a thread, turns errors into problems."""

    async def endpoint(request: Request) -> JSONResponse:
        try:
            asked = Asked(
                actor=str(request.state.actor),
                door="cli" if request.headers.get("x-sluice-door") == "cli" else "console",
                path=request.path_params,
                query=request.query_params,
                body=await _body(request),
                if_match=request.headers.get("if-match"),
            )
            status, answer = await run_in_threadpool(operation.run, asked)
        except SluiceError as error:
            return problem(error)
        return JSONResponse(answer, status_code=status)

    return endpoint


async def _body(request: Request) -> object:
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > LARGEST_BODY:
            raise UsageError(f"the body is larger than {LARGEST_BODY} bytes.", fix="send it in smaller batches")
    if not raw:
        return {}
    try:
        return json.loads(raw)
    except ValueError as error:
        raise UsageError(f"the body is not JSON: {error}.") from error


def problem(error: SluiceError) -> JSONResponse:
    """An RFC 9457 problem document."""
    body: dict[str, object] = {"title": type(error).__name__, "detail": error.message, "status": _status(error)}
    if error.fix:
        body["fix"] = error.fix
    if isinstance(error, InvalidDocument):
        body["errors"] = [asdict(found) for found in error.problems]
    return JSONResponse(body, status_code=_status(error), media_type="application/problem+json")


def _status(error: SluiceError) -> int:
    match error:
        case UsageError():
            return 422
        case NotFound():
            return 404
        case Refused():
            return 409
        case Unreachable():
            return 503
        case _:
            return 500
