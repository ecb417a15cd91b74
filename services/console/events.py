"""Server-sent events: every fact of the ledger, as it is appended."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from registry.errors import UsageError
from registry.ledger import Fed, Ledger
from services.console.acts.rollouts import fact_json
from services.console.problems import problem

LOOK_EVERY = 0.5
"""Seconds between looks at the ledger."""
BEAT_EVERY = 30
"""Looks without a fact after which a comment keeps the connection alive."""


def events(ledger: Ledger) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint. A client that comes back with Last-Event-ID misses nothing; a new one begins with what is next."""

    async def endpoint(request: Request) -> Response:
        last = request.headers.get("last-event-id") or request.query_params.get("after")
        if last is not None and not (last.isascii() and last.isdigit()):
            return problem(UsageError(f"after: a place in the feed is a whole number, got {last!r}."))
        place = int(last) if last is not None else await run_in_threadpool(ledger.feed_end)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(_stream(ledger, place), media_type="text/event-stream", headers=headers)

    return endpoint


async def _stream(ledger: Ledger, place: int) -> AsyncIterator[str]:
    yield ": facts of the ledger\n\n"
    quiet = 0
    while True:
        found = await run_in_threadpool(ledger.feed, after=place, limit=100)
        for fed in found:
            place = fed.place
            yield _event(fed)
        quiet = 0 if found else quiet + 1
        if quiet and quiet % BEAT_EVERY == 0:
            yield ": still here\n\n"
        await asyncio.sleep(LOOK_EVERY)


def _event(fed: Fed) -> str:
    body = {"rollout": fed.entry.rollout, **fact_json(fed.entry)}
    return f"id: {fed.place}\nevent: fact\ndata: {json.dumps(body, separators=(',', ':'))}\n\n"
