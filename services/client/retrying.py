"""Decides whether a request may be sent again, and after how long. Does not wait itself.

A prediction may have side effects and counts as a request of its build, so it is sent again only if it cannot have been
served: there was no connection, or the server answered `503` with `Retry-After`. Reads and outcomes, which count once
however often they are sent, are sent again after any temporary failure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import httpx

_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, kw_only=True)
class Retries:
    """The number of attempts and the delays between them, in seconds. Delays double, each times a random 0.5 to 1."""

    attempts: int = 3
    first: float = 0.1
    longest: float = 5.0

    def wait(
        self,
        attempt: int,
        outcome: httpx.Response | httpx.RequestError,
        *,
        is_harmless: bool,
        draw: Callable[[], float],
    ) -> float | None:
        """Seconds until the next attempt after this one, which counts from 1; None: do not retry.

        `is_harmless`: whether the request is idempotent. `draw` returns a random number from 0 to 1.
        """
        if attempt >= self.attempts or not _may_repeat(outcome, is_harmless=is_harmless):
            return None
        own = min(self.longest, self.first * 2.0 ** (attempt - 1)) * (0.5 + draw() / 2)
        least = _retry_after(outcome)
        if least is not None and least > self.longest:
            return None
        return max(own, least or 0.0)


def was_sent(error: httpx.RequestError) -> bool:
    """Whether the server may have received the request."""
    return not isinstance(error, _UNSENT)


def _may_repeat(outcome: httpx.Response | httpx.RequestError, *, is_harmless: bool) -> bool:
    if isinstance(outcome, httpx.Response):
        if is_harmless:
            return outcome.status_code in _PASSING
        return outcome.status_code == 503 and _retry_after(outcome) is not None
    return is_harmless or not was_sent(outcome)


def _retry_after(outcome: httpx.Response | httpx.RequestError) -> float | None:
    """The server's Retry-After in seconds; None if there is none, or if it is a date, which is not supported."""
    seconds: str = outcome.headers.get("retry-after", "") if isinstance(outcome, httpx.Response) else ""
    return float(seconds) if seconds.isdecimal() else None
