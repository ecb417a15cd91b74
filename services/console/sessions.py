"""Browser sessions: a signed cookie that expires after 12 hours, or at once when its owner signs out.

Ended sessions are kept in the ledger's notes, so that a copy of the cookie is worthless, even after a restart.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, MutableMapping
from datetime import datetime, timedelta
from threading import Lock
from typing import Any

from sluicegate.registry.ledger.port import Notes

LIFE = timedelta(hours=12)
"""Counted from sign-in; use does not extend it."""
_NOTE = "ended sessions of the console"
Cookie = MutableMapping[str, Any]


class Sessions:
    """Opens, checks and ends the sessions of one installation."""

    def __init__(self, notes: Notes, clock: Callable[[], datetime]) -> None:
        self._notes = notes
        self._clock = clock
        self._lock = Lock()
        self._ended: dict[str, object] | None = None

    def open(self, cookie: Cookie, token: str, name: str) -> None:
        """Store the digest of the browser's token in its cookie, and give its forms a token of their own."""
        cookie.clear()
        cookie.update(
            {
                "id": secrets.token_urlsafe(12),
                "ends": (self._clock() + LIFE).isoformat(),
                "token": hashlib.sha256(token.strip().encode()).hexdigest(),
                "name": name,
                "form": secrets.token_urlsafe(24),
            }
        )

    def is_open(self, cookie: Cookie) -> bool:
        """Whether the session was opened, has not expired and was not ended."""
        ends = cookie.get("ends")
        with self._lock:
            return ends is not None and self._is_ahead(ends) and cookie.get("id") not in self._ended_sessions()

    def end(self, cookie: Cookie) -> None:
        """End the session on the server, and not only in this browser."""
        if "id" in cookie:
            with self._lock:
                unexpired = {name: ends for name, ends in self._ended_sessions().items() if self._is_ahead(ends)}
                self._ended = unexpired | {str(cookie["id"]): cookie["ends"]}
                self._notes.remember(_NOTE, self._ended)
        cookie.clear()

    def _ended_sessions(self) -> dict[str, object]:
        if self._ended is None:
            self._ended = self._notes.recall(_NOTE) or {}
        return self._ended

    def _is_ahead(self, ends: object) -> bool:
        return datetime.fromisoformat(str(ends)) > self._clock()
