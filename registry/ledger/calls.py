"""Calls: who asked the API to change something, what came of it, and the first answer to a key. Adapters below."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

KEY_LIFE = timedelta(days=1)
"""How long a key stands for its first answer."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request to change something."""

    at: datetime
    actor: str
    role: str
    method: str
    path: str
    digest: str
    """Of method, path and body: the same key with another digest is a mistake."""
    key: str | None = None
    """The caller's Idempotency-Key; within a day an actor's key stands for one call."""
    number: int = 0
    """Its place among all calls, from 1; given when it is kept."""
    status: int | None = None
    """What was answered; None: not yet, or the process died before."""
    answer: str | None = None
    """The body that was answered, as JSON; kept where there is a key."""


class Calls(Protocol):
    """The record of calls, on every adapter held to tests/contract/test_calls.py."""

    def begin(self, call: Call) -> tuple[Call, bool]:
        """Keep a call before it acts, and True; or the one that its actor's key already stands for, and False."""
        ...

    def finish(self, number: int, status: int, answer: str) -> None:
        """Keep what was answered; the body only where the call has a key."""
        ...

    def latest(self, *, limit: int, before: int | None = None) -> tuple[Call, ...]:
        """At most `limit` calls, newest first, from the one before number `before`."""
        ...
