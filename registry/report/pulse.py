"""Pulse: how many requests a model got recently, and how many of them failed, by minute. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MINUTES = 15
"""How many whole minutes a pulse covers."""


@dataclass(frozen=True, kw_only=True)
class Pulse:
    """A model's last whole minutes, oldest first. A minute without requests is 0."""

    requests: tuple[int, ...]
    failed: tuple[int, ...]
    """Requests that failed or whose caller left."""

    @property
    def is_quiet(self) -> bool:
        """Whether there was no request in any of them."""
        return not any(self.requests)


def pulse(counts: Mapping[int, tuple[int, int]], minute: int) -> Pulse:
    """The pulse of (requests, failed) by minute since 1970. The present `minute` is not over and is left out."""
    last_minutes = [counts.get(each, (0, 0)) for each in range(minute - MINUTES, minute)]
    return Pulse(
        requests=tuple(requests for requests, _ in last_minutes), failed=tuple(failed for _, failed in last_minutes)
    )
