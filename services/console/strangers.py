"""Strangers: attempts with a wrong token are recorded, and each one is delayed longer than the last."""

from __future__ import annotations

import asyncio
import time

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from sluicegate.registry.ledger.calls import Call
from sluicegate.services.console.ports import Desk
from sluicegate.services.console.wrong_tries import LONGEST, WrongTries

log = structlog.get_logger("console")
_LONGEST_NAME = 60


class Strangers:
    """Handles requests with a wrong token."""

    def __init__(self, desk: Desk, tries: WrongTries | None = None) -> None:
        self._desk = desk
        self._tries = tries or WrongTries(time.monotonic)

    async def met(self, request: Request, name: str) -> float | None:
        """Record the attempt and wait. None: answer now; otherwise refuse with 429 and this many seconds to wait."""
        address = request.client.host if request.client else "unknown"
        shown = name.strip()[:_LONGEST_NAME] or "nobody"
        count, seconds = self._tries.count(f"address {address}", f"name {shown}")
        with self._tries.room_to_wait() as has_room:
            if not has_room:
                return LONGEST
            log.warning("a wrong token was shown", address=address, name=shown, path=request.url.path, tries=count)
            await run_in_threadpool(self._record, request, shown)
            await asyncio.sleep(seconds)
        return None

    def _record(self, request: Request, name: str) -> None:
        call = Call(
            at=self._desk.clock(), actor=name, role="none", method=request.method, path=request.url.path, digest=""
        )
        kept, _ = self._desk.calls.begin(call)
        self._desk.calls.finish(kept.number, 401, "null")
