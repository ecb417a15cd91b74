"""Pulse: how many requests a model got lately, and how many of them failed, minute by minute. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MINUTES = 15
"""Whole minutes that a pulse tells of."""


@dataclass(frozen=True, kw_only=True)
class Pulse:
    """A model's last whole minutes, oldest first; a minute without requests is 0."""

    requests: tuple[int, ...]
    failed: tuple[int, ...]
    """Requests that failed, or whose client left."""

    @property
    def is_quiet(self) -> bool:
        """Whether no request came in all of them."""
        return not any(self.requests)


def pulse(counts: Mapping[int, tuple[int, int]], minute: int) -> Pulse:
    """From (requests, failed) by minute since 1970; `minute` is the present one, which is not over and is left out."""
    told = [counts.get(each, (0, 0)) for each in range(minute - MINUTES, minute)]
    return Pulse(requests=tuple(requests for requests, _ in told), failed=tuple(failed for _, failed in told))
