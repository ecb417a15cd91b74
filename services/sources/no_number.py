"""NoNumber: a source did not return exactly one number."""

from __future__ import annotations

import math

LONGEST = 300
"""The most characters of a reason, since a server's message may be long."""


class NoNumber(Exception):
    """Why there is no number. Never contains an address or a secret."""

    def __init__(self, reason: str) -> None:
        text = " ".join(reason.split())
        super().__init__(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")


def finite(value: float) -> float:
    """The number. Raises NoNumber for NaN and infinities, which cannot be compared with a limit."""
    if not math.isfinite(value):
        raise NoNumber(f"its value is {value}, which cannot be compared with a limit")
    return value
