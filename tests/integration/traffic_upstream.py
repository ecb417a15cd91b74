"""A small model service for traffic tests: python traffic_upstream.py PORT BUILD. POST /-/mode sets how it behaves.

Several may share a port, as workers of one service. A request whose body names a file ends the worker that can delete
the file, as a model does that takes its process with it.
"""

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path

from aiohttp import web

PORT, BUILD = int(sys.argv[1]), sys.argv[2]
mode = {"answer": "ok"}
seen = {"predict": 0}
last: dict[str, str] = {}
released = asyncio.Event()
eaten: list[bytearray] = []


def die_if_told(body: bytes) -> None:
    if body.startswith(b"/"):
        with contextlib.suppress(FileNotFoundError):
            Path(os.fsdecode(body)).unlink()
            os._exit(1)


async def predict(request: web.Request) -> web.StreamResponse:
    seen["predict"] += 1
    body = await request.read()
    last.update(request.headers)
    die_if_told(body)
    match mode["answer"]:
        case "fail":
            return web.json_response({"error": "broken"}, status=503)
        case "hang":
            await asyncio.sleep(3600)
        case "hold":
            await released.wait()
        case "slow":
            await asyncio.sleep(float(mode["seconds"]))
        case "reset":
            assert request.transport is not None
            request.transport.abort()
        case "crash" if seen["predict"] % 40 == 0:
            os._exit(1)
        case "garbage":
            assert request.transport is not None
            request.transport.write(b"\x00\xffnot HTTP at all\r\n\r\n" * 50)  # type: ignore[attr-defined]
            request.transport.close()
        case "bloat":
            return web.Response(body=bytes(4 * 1024 * 1024), headers={"x-sluice-prediction": "x" * 8_000})
        case "eat" if len(eaten) < 30:
            eaten.append(bytearray(os.urandom(1024) * 8 * 1024))
    told = mode.get("prediction", json.dumps({"p": [0.25]}))
    headers = {"x-sluice-prediction": told, "x-other": "kept"}
    answer = {"build": BUILD, "path": request.path, "headers": dict(request.headers), "bytes": len(body)}
    return web.json_response(answer, headers=headers)


async def set_mode(request: web.Request) -> web.Response:
    mode.update(await request.json())
    if mode["answer"] == "hold":
        released.clear()
    else:
        released.set()
    return web.json_response(seen)


async def tell_last(request: web.Request) -> web.Response:
    return web.json_response({name.lower(): value for name, value in last.items()})


app = web.Application(client_max_size=64 * 1024 * 1024)
app.router.add_post("/predict", predict)
app.router.add_post("/invocations", predict)
app.router.add_post("/-/mode", set_mode)
app.router.add_get("/-/last", tell_last)
web.run_app(app, host="127.0.0.1", port=PORT, print=None, handle_signals=True, reuse_port=True)
