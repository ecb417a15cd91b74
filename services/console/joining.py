"""Gateways of other hosts: they fetch routes, report what they serve, and send their logs. Each has its own token.

They use long polling: a gateway asks again and again, and its request waits until there is news. Waiting takes no
thread, so many gateways can wait at once.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sluicegate.registry.words.errors import Forbidden, SluiceError, UsageError
from sluicegate.registry.words.roles import Role
from sluicegate.services.console.json_body import read_json
from sluicegate.services.console.ports import Desk
from sluicegate.services.console.problems import problem

PATH = "/api/v1/gateway"
LONGEST_WAIT = 2.0
"""Seconds until a gateway gets an answer although nothing is new. The answer also says whether a keeper is running."""
_LOOK_EVERY = 0.01
_LARGEST = 4 << 20
"""Bytes of a part of a log, both compressed and uncompressed."""


def joining_routes(desk: Desk) -> list[Route]:
    """The endpoints for gateways of other hosts."""

    async def talk(request: Request) -> dict[str, Any]:
        status = read_json(await _body(request))
        if not isinstance(status, dict):
            raise UsageError("a gateway says what it serves as a JSON object.")
        name, has = request.state.caller.name, status.get("has")
        status["address"] = request.client and request.client.host
        heard, elapsed = await run_in_threadpool(desk.gateways.hear, name, status), asyncio.get_running_loop().time
        is_brief = not heard or status.get("retired") or status.get("at_once")
        began = elapsed()
        until = began + (0 if is_brief else LONGEST_WAIT)
        while desk.gateways.sheet_name(name) in (None, has) and elapsed() < until:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_EVERY)
        waited = elapsed() - began
        return {"waited": waited, "heard": heard, **await run_in_threadpool(desk.gateways.answer, name, has)}

    async def take(request: Request) -> dict[str, Any]:
        query, name = request.query_params, request.state.caller.name
        data = _decompressed(await _body(request))
        place = query.get("offset", "")
        if not place.isascii() or not place.isdigit():
            raise UsageError("offset: a whole number is required.")
        size = await run_in_threadpool(
            desk.gateways.take_log, name, request.path_params["log"], query.get("head", ""), int(place), data,
            is_whole=query.get("whole") == "1",
        )  # fmt: skip
        return {"size": size}

    return [
        Route(PATH, _for_gateways(talk), methods=["POST"]),
        Route(PATH + "/logs/{log}", _for_gateways(take), methods=["POST"]),
    ]


def _for_gateways(act: Callable[[Request], Awaitable[dict[str, Any]]]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        caller = request.state.caller
        try:
            if not caller.role.may(Role.GATEWAY):
                fix = "give one on the console's host: sluice token give NAME --role gateway"
                raise Forbidden(f"the token of {caller.name} is not a gateway's.", fix=fix)
            return JSONResponse(await act(request))
        except SluiceError as error:
            return problem(error)

    return endpoint


async def _body(request: Request) -> bytes:
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > _LARGEST:
            raise UsageError(f"the body is larger than {_LARGEST} bytes.", fix="send less at once")
    return raw


def _decompressed(data: bytes) -> bytes:
    decompressor = zlib.decompressobj()
    try:
        part = decompressor.decompress(data, _LARGEST) if data else b""
    except zlib.error:
        raise UsageError("the part of the log is not whole.", fix="send it again") from None
    if data and not decompressor.eof:
        raise UsageError(f"the part of the log is larger than {_LARGEST} bytes, or not whole.", fix="send less at once")
    return part
