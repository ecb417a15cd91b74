"""Calls: who asked the API to change something, the result, and the first answer for each key."""

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
    """Digest of method, path and body: the same key with another digest is a mistake."""
    key: str | None = None
    """The caller's Idempotency-Key. Within a day, an actor's key stands for one call."""
    number: int = 0
    """Its position among all calls, from 1; assigned when it is stored."""
    status: int | None = None
    """Status of the answer; None: not answered yet, or the process died before."""
    answer: str | None = None
    """Body of the answer, as JSON; stored if there is a key."""


class Calls(Protocol):
    """The record of calls. tests/contract/test_calls.py tests every adapter."""

    def begin(self, call: Call) -> tuple[Call, bool]:
        """Store a call before it acts, and return it and True; or the call of the same key, and False."""
        ...

    def finish(self, number: int, status: int, answer: str) -> None:
        """Store the answer; its body only if the call has a key."""
        ...

    def latest(self, *, limit: int, before: int | None = None) -> tuple[Call, ...]:
        """At most `limit` calls, newest first, starting before number `before`."""
        ...
