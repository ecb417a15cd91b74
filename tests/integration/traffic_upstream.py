"""A small model service for traffic tests: python traffic_upstream.py PORT BUILD. POST /-/mode sets how it behaves."""

import asyncio
import json
import sys

from aiohttp import web

PORT, BUILD = int(sys.argv[1]), sys.argv[2]
mode = {"answer": "ok"}
seen = {"predict": 0}
last: dict[str, str] = {}
released = asyncio.Event()


async def predict(request: web.Request) -> web.StreamResponse:
    seen["predict"] += 1
    body = await request.read()
    last.update(request.headers)
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
    headers = {"x-sluice-prediction": json.dumps({"p": [0.25]}), "x-other": "kept"}
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
web.run_app(app, host="127.0.0.1", port=PORT, print=None, handle_signals=True)
