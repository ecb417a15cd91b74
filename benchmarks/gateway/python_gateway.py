"""A gateway as one would write it in Python, to compare with: python_gateway.py starlette|aiohttp PORT UPSTREAM …

It hashes the unit, picks one of two services, passes the body on and the answer back, and logs a line: no retries, no
audiences, no limits.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator

import xxhash


def pick(upstreams: list[str], unit: str) -> str:
    at = xxhash.xxh64_intdigest(f"delays/default:{unit}".encode()) % 10_000
    return upstreams[0] if at >= 2_000 else upstreams[-1]


def line(upstream: str, unit: str, status: int, began: float) -> str:
    taken = round((time.perf_counter() - began) * 1e6)
    return json.dumps({"upstream": upstream, "unit": unit, "status": status, "dur_us": taken}) + "\n"


def starlette(port: int, upstreams: list[str]) -> None:
    import httpx
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    log = open("python-gateway.jsonl", "a", buffering=1)  # noqa: SIM115, PTH123
    client = httpx.AsyncClient(limits=httpx.Limits(max_connections=100), trust_env=False)

    async def predict(request: Request) -> Response:
        began, unit = time.perf_counter(), request.headers.get("x-user-id", "")
        upstream = pick(upstreams, unit)
        answer = await client.post(
            f"http://{upstream}/predict",
            content=await request.body(),
            headers={"content-type": request.headers.get("content-type", ""), "x-user-id": unit},
        )
        log.write(line(upstream, unit, answer.status_code, began))
        return Response(answer.content, answer.status_code, media_type=answer.headers.get("content-type"))

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await client.aclose()

    app = Starlette(routes=[Route("/delays/predict", predict, methods=["POST"])], lifespan=lifespan)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


def aiohttp(port: int, upstreams: list[str]) -> None:
    from aiohttp import ClientSession, web

    log = open("python-gateway.jsonl", "a", buffering=1)  # noqa: SIM115, PTH123
    session = web.AppKey("session", ClientSession)

    async def predict(request: web.Request) -> web.Response:
        began, unit = time.perf_counter(), request.headers.get("x-user-id", "")
        upstream = pick(upstreams, unit)
        headers = {"content-type": request.headers.get("content-type", ""), "x-user-id": unit}
        body = await request.read()
        async with request.app[session].post(f"http://{upstream}/predict", data=body, headers=headers) as answer:
            content = await answer.read()
        log.write(line(upstream, unit, answer.status, began))
        return web.Response(body=content, status=answer.status, content_type=answer.content_type)

    async def client(app: web.Application) -> AsyncIterator[None]:
        async with ClientSession() as opened:
            app[session] = opened
            yield

    app = web.Application()
    app.cleanup_ctx.append(client)
    app.router.add_post("/delays/predict", predict)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


if __name__ == "__main__":
    {"starlette": starlette, "aiohttp": aiohttp}[sys.argv[1]](int(sys.argv[2]), sys.argv[3:])
