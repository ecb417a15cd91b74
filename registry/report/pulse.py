"""Pulse: how many requests a model got recently, and how many of them failed, by minute. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile

from sluicegate.registry.report.view import RolloutView

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

    @property
    def quiet_minutes(self) -> int:
        """How many of the last whole minutes had no request."""
        return sum(1 for _ in takewhile(lambda requests: not requests, reversed(self.requests)))


QUIET = 5
"""From so many minutes without a request on, a rollout in progress says so."""


def silence(rollout: RolloutView, of_model: Pulse | None) -> str | None:
    """That requests to a rollout's model have stopped, in a sentence; None if they have not or nothing waits for them.

    While requests are not counted nobody knows, and the rollout says that it is blind instead.
    """
    waits = rollout.weight > 0 and rollout.gates and rollout.phase in ("running", "paused", "confirming")
    if of_model is None or not of_model.requests or not waits or rollout.blind or of_model.quiet_minutes < QUIET:
        return None
    for_long = f"{of_model.quiet_minutes} minutes{' or longer' if of_model.is_quiet else ''}"
    return f"No request has come to {rollout.model} for {for_long}, so there is nothing new to judge."


def pulse(counts: Mapping[int, tuple[int, int]], minute: int) -> Pulse:
    """The pulse of (requests, failed) by minute since 1970. The present `minute` is not over and is left out."""
    last_minutes = [counts.get(each, (0, 0)) for each in range(minute - MINUTES, minute)]
    return Pulse(
        requests=tuple(requests for requests, _ in last_minutes), failed=tuple(failed for _, failed in last_minutes)
    )
