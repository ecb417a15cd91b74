"""Server-sent events: every fact of the ledger, as it is appended."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.record import Fed
from sluicegate.registry.words.errors import UsageError
from sluicegate.services.console.acts.rollouts import fact_json
from sluicegate.services.console.changes import Changes
from sluicegate.services.console.problems import problem

LOOK_EVERY = 0.5
"""Seconds between polls of the ledger, in case nothing wakes the view."""


def events(ledger: Ledger, changes: Changes) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint. A client that reconnects with Last-Event-ID misses nothing; a new one starts with the next fact."""

    async def endpoint(request: Request) -> Response:
        last = request.headers.get("last-event-id") or request.query_params.get("after")
        if last is not None and not (last.isascii() and last.isdigit()):
            return problem(UsageError(f"after: a place in the feed is a whole number, got {last!r}."))
        place = int(last) if last is not None else await run_in_threadpool(ledger.feed_end)
        return EventSourceResponse(facts(ledger, changes, place, request.state.is_let_in))

    return endpoint


async def facts(
    ledger: Ledger, changes: Changes, place: int, is_let_in: Callable[[], bool]
) -> AsyncIterator[ServerSentEvent]:
    """An event for each fact after `place`, for as long as the listener's token or session is valid."""
    with changes.watched() as changed:
        while await run_in_threadpool(is_let_in):
            changed.clear()
            for fed in await run_in_threadpool(ledger.feed, after=place, limit=100):
                place = fed.place
                yield _event(fed)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), LOOK_EVERY)


def _event(fed: Fed) -> ServerSentEvent:
    return ServerSentEvent(
        id=str(fed.place), event="fact", data=json.dumps(fact_json(fed.entry), separators=(",", ":"))
    )
