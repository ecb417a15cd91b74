"""The JSON API over HTTP: who may, bodies, entity tags, keys, problems. The acts themselves know no HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.metadata import version

from starlette import requests
from starlette.concurrency import run_in_threadpool
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
"""Bytes of a request body; more is refused."""


def routes(desk: Desk) -> list[Route]:
    """The API's routes."""
    operations = table(desk)
    recorder = Recorder(desk.calls, desk.clock)
    described = document(operations, version=version("sluicegate"))

    async def openapi(_: requests.Request) -> JSONResponse:
        return JSONResponse(described)

    return [
        *(Route(it.path, _endpoint(desk, it, recorder), methods=[it.method]) for it in operations),
        Route("/api/v1/events", events(desk.ledger), methods=["GET"]),
        Route("/api/v1/openapi.json", openapi, methods=["GET"]),
    ]


def _endpoint(
    desk: Desk, operation: Operation, recorder: Recorder
) -> Callable[[requests.Request], Awaitable[Response]]:
    async def endpoint(http: requests.Request) -> Response:
        caller: Caller = http.state.caller
        path = http.url.path
        try:
            allow(caller, operation)
            request = await _request(http, caller)
            if operation.method != "GET" and http.query_params.get("dry_run"):
                _, trial = await run_in_threadpool(dry_run, desk, operation.method, path, request)
                return json_response(200, trial)
            status, answer = await run_in_threadpool(recorder.run, operation, request, caller, path)
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
