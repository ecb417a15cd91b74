"""Health: the checks of `sluice doctor`, and what the collector has counted, waits for and could not read.

The page does not wait for anything that hangs: after at most a second it shows what it has, and what did not answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from starlette.requests import Request

from sluicegate.registry.words.errors import Unreachable
from sluicegate.services.beside import Beside
from sluicegate.services.console.pages.rendering import Context, Endpoint, template
from sluicegate.services.console.ports import Desk

PATIENCE = 0.5
"""Seconds that the page waits for checks, and then for counters."""
_ORDER = {"fail": 0, "warn": 1, "pending": 2, "pass": 3}


def page(desk: Desk) -> Endpoint:
    """The page of the machine."""
    latest = _Latest(desk.counts)

    def context(_: Request) -> Context:
        latest.ask()
        checks = sorted(desk.checks(PATIENCE), key=lambda check: _ORDER.get(check.status, 0))
        counts = latest.wait(PATIENCE / 4)
        return {"checks": checks, "counts": counts, "unread": latest.unread}

    return template(desk, "health.html", context)


class _Latest:
    """The latest result of a query that may hang; the query runs in a thread of its own."""

    def __init__(self, query: Callable[[], dict[str, object]]) -> None:
        self._query = query
        self._beside = Beside()
        self._answered = threading.Event()
        self._answer: dict[str, object] | None = None
        self.unread: str | None = None
        """The reason if the last query failed; otherwise None."""

    def ask(self) -> None:
        if not self._beside.longest("counts"):
            self._answered.clear()
            self._beside("counts", self._put)

    def wait(self, seconds: float) -> dict[str, object] | None:
        """The result; if it does not arrive in time, the previous one or None."""
        self._answered.wait(seconds)
        return self._answer

    def _put(self) -> None:
        try:
            self._answer, self.unread = self._query(), None
        except Unreachable as error:
            self._answer, self.unread = None, str(error)
        self._answered.set()
