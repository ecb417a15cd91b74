"""NoNumber: what a source gave is not one number."""

from __future__ import annotations

import math

LONGEST = 300
"""Letters of a reason: a server's own words may be long."""


class NoNumber(Exception):
    """Why there is no number. Holds no address and no secret."""

    def __init__(self, reason: str) -> None:
        text = " ".join(reason.split())
        super().__init__(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")


def finite(value: float) -> float:
    """The number. Raises NoNumber for NaN and infinities: neither keeps a limit, nor breaks one."""
    if not math.isfinite(value):
        raise NoNumber(f"its value is {value}, which cannot be compared with a limit")
    return value
