"""The JSON API over HTTP: roles, bodies, entity tags, idempotency keys, problems. The acts themselves know no HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from importlib.metadata import version

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette import requests
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sluicegate.registry.words.errors import SluiceError, UsageError
from sluicegate.services.console.acts.table import table
from sluicegate.services.console.dry_run import dry_run
from sluicegate.services.console.events import events
from sluicegate.services.console.if_match import entity_tag
from sluicegate.services.console.json_body import read_json
from sluicegate.services.console.openapi import document
from sluicegate.services.console.operations import Operation, Request
from sluicegate.services.console.ports import Desk
from sluicegate.services.console.problems import json_response, problem
from sluicegate.services.console.recording import Recorder, allow
from sluicegate.services.console.tokens import Caller

LARGEST_BODY = 1 << 20
"""Bytes; larger request bodies are refused."""


_FOR_ORDERS, _FOR_OTHERS = CapacityLimiter(20), CapacityLimiter(20)
"""Threads for each kind of call, so that an order never waits behind slow readers or outcomes."""


def routes(desk: Desk) -> list[Route]:
    """The API's routes."""
    operations = table(desk)
    recorder = Recorder(desk.calls, desk.clock)
    described = document(operations, version=version("sluicegate"))

    async def openapi(_: requests.Request) -> JSONResponse:
        return JSONResponse(described)

    return [
        *(Route(it.path, _endpoint(desk, it, recorder), methods=[it.method]) for it in operations),
        Route("/api/v1/events", events(desk.ledger, desk.changes), methods=["GET"]),
        Route("/api/v1/openapi.json", openapi, methods=["GET"]),
    ]


def _endpoint(
    desk: Desk, operation: Operation, recorder: Recorder
) -> Callable[[requests.Request], Awaitable[Response]]:
    is_order = operation.method != "GET" and operation.is_recorded  # outcomes are not recorded
    threads = _FOR_ORDERS if is_order else _FOR_OTHERS

    async def endpoint(http: requests.Request) -> Response:
        caller: Caller = http.state.caller
        path = http.url.path
        try:
            allow(caller, operation)
            request = await _request(http, caller)
            if operation.method != "GET" and http.query_params.get("dry_run"):
                trying = partial(dry_run, desk, operation.method, path, request)
                _, trial = await run_sync(trying, limiter=threads)
                return json_response(200, trial)
            acting = partial(recorder.run, operation, request, caller, path)
            status, answer = await run_sync(acting, limiter=threads)
        except SluiceError as error:
            return problem(error)
        tag = entity_tag(answer)
        if tag is None:
            return json_response(status, answer)
        is_known = operation.method == "GET" and http.headers.get("if-none-match") == tag
        response = Response(status_code=304) if is_known else json_response(status, answer)
        response.headers["etag"] = tag
        return response

    return endpoint


async def _request(http: requests.Request, caller: Caller) -> Request:
    return Request(
        actor=caller.name,
        role=caller.role,
        person=caller.person,
        only_model=caller.only_model,
        door="cli" if http.headers.get("x-sluice-door") == "cli" else "console",
        path=http.path_params,
        query={name: value for name, value in http.query_params.items() if name not in ("form", "dry_run")},
        body=await _body(http),
        if_match=http.headers.get("if-match"),
        key=http.headers.get("idempotency-key"),
    )


async def _body(http: requests.Request) -> object:
    raw = b""
    async for chunk in http.stream():
        raw += chunk
        if len(raw) > LARGEST_BODY:
            raise UsageError(f"the body is larger than {LARGEST_BODY} bytes.", fix="send it in smaller batches")
    return read_json(raw) if raw else None
