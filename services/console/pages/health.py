"""Health: what doctor finds, and what the collector has counted, awaits and could not read.

The page waits for nothing that hangs: it shows what is known within a second, and what has not answered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from starlette.requests import Request

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
        return {"checks": checks, "counts": latest.wait(PATIENCE / 4)}

    return template(desk, "health.html", context)


class _Latest:
    """The newest answer to a question that may hang; it is asked beside."""

    def __init__(self, question: Callable[[], dict[str, object]]) -> None:
        self._question = question
        self._beside = Beside()
        self._answered = threading.Event()
        self._answer: dict[str, object] | None = None

    def ask(self) -> None:
        if not self._beside.longest("counts"):
            self._answered.clear()
            self._beside("counts", self._put)

    def wait(self, seconds: float) -> dict[str, object] | None:
        """The answer; after so many seconds the one before, or None."""
        self._answered.wait(seconds)
        return self._answer

    def _put(self) -> None:
        self._answer = self._question()
        self._answered.set()
