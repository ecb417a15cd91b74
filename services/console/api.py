"""The JSON API over HTTP: who may, bodies, entity tags, keys, problems. The acts themselves know no HTTP."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from importlib.metadata import version

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sluicegate.registry.words.errors import SluiceError, UsageError
from sluicegate.services.console.acts.table import table
from sluicegate.services.console.dry_run import dry_run
from sluicegate.services.console.events import events
from sluicegate.services.console.openapi import document
from sluicegate.services.console.operations import Asked, Operation
from sluicegate.services.console.ports import Desk
from sluicegate.services.console.problems import problem
from sluicegate.services.console.recording import Recorder, allow
from sluicegate.services.console.tokens import Caller

LARGEST_BODY = 1 << 20
"""Bytes of a request body; more is refused."""


def routes(desk: Desk) -> list[Route]:
    """The API's routes."""
    operations = table(desk)
    recorder = Recorder(desk.calls, desk.clock)
    told = document(operations, version=version("sluicegate"))

    async def openapi(_: Request) -> JSONResponse:
        return JSONResponse(told)

    return [
        *(Route(it.path, _endpoint(desk, it, recorder), methods=[it.method]) for it in operations),
        Route("/api/v1/events", events(desk.ledger), methods=["GET"]),
        Route("/api/v1/openapi.json", openapi, methods=["GET"]),
    ]


def _endpoint(desk: Desk, operation: Operation, recorder: Recorder) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        caller: Caller = request.state.caller
        try:
            allow(caller, operation)
            asked = await _asked(request, caller)
            if operation.method != "GET" and request.query_params.get("dry_run"):
                _, tried = await run_in_threadpool(dry_run, desk, operation.method, request.url.path, asked)
                return JSONResponse(tried)
            key = request.headers.get("idempotency-key")
            status, text = await run_in_threadpool(recorder.run, operation, asked, caller, key, request.url.path)
        except SluiceError as error:
            return problem(error)
        kind = "application/json" if status < 400 else "application/problem+json"
        return _tagged(request, Response(text, status_code=status, media_type=kind))

    return endpoint


async def _asked(request: Request, caller: Caller) -> Asked:
    return Asked(
        actor=caller.name,
        role=caller.role,
        door="cli" if request.headers.get("x-sluice-door") == "cli" else "console",
        path=request.path_params,
        query={name: value for name, value in request.query_params.items() if name not in ("form", "dry_run")},
        body=await _body(request),
        if_match=request.headers.get("if-match"),
    )


async def _body(request: Request) -> object:
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > LARGEST_BODY:
            raise UsageError(f"the body is larger than {LARGEST_BODY} bytes.", fix="send it in smaller batches")
    if not raw:
        return None
    try:
        return json.loads(raw)
    except ValueError as error:
        raise UsageError(f"the body is not JSON: {error}.") from error


def _tagged(request: Request, response: Response) -> Response:
    """The answer of a rollout or of connections bears its entity tag; who has it already is told so in few bytes."""
    tag = _tag(json.loads(bytes(response.body)))
    if tag is None:
        return response
    if request.method == "GET" and request.headers.get("if-none-match") == tag:
        response = Response(status_code=304)
    response.headers["etag"] = tag
    return response


def _tag(body: object) -> str | None:
    if not isinstance(body, dict):
        return None
    if "id" in body and "seq" in body:
        return f'"{body["id"]}.{body["seq"]}"'
    return f'"{body["etag"]}"' if "etag" in body else None
