"""Keeping: the models whose requests are kept even without a rollout that asks for it, and for how long.

A rollout's own plan says whether its requests are kept. This module decides on the model's other requests: caps are
frozen from outcomes of requests before a rollout, captured bodies are joined to their requests, and a shadow may get
copies of requests that another variation served.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.plan.plan import Plan

_PERIOD = timedelta(seconds=2)
"""How long an answer stays valid: less than the time from a shadow's order to its first copy."""
_COPIES_WAIT = timedelta(hours=1)
"""How long after its end a shadow's last copies may still be unread."""


class KeptModels:
    """Says whether a model's requests are kept. Reads the ledger at intervals, and each plan once."""

    def __init__(self, ledger: Ledger, wall: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._wall = wall
        self._models: frozenset[str] = frozenset()
        self._asked_at: datetime | None = None
        self._plans: dict[str, str | None] = {}
        """By a plan's digest, its model if the plan asks for requests."""

    def __call__(self, model: str) -> bool:
        """Whether requests of a model are kept. Raises SluiceError if the ledger cannot be read."""
        now = self._wall()
        if self._asked_at is None or not timedelta() <= now - self._asked_at < _PERIOD:  # or the clock was set back
            self._models = frozenset((*self._asked_by_plans(), *self._shadowed(now)))
            self._asked_at = now
        return model in self._models

    def _asked_by_plans(self) -> Iterator[str]:
        applied = {each.digest: each.body for each in self._ledger.all_applied("plan")}
        self._plans = {
            digest: self._plans[digest] if digest in self._plans else _asking_model(body)
            for digest, body in applied.items()
        }
        return (model for model in self._plans.values() if model is not None)

    def _shadowed(self, now: datetime) -> Iterator[str]:
        wanted = (Selection(is_ended=False), Selection(ended_since=now - _COPIES_WAIT))
        rollouts = (each for selection in wanted for each in self._ledger.rollouts(selection))
        return (rollout.requested.model for rollout in rollouts if rollout.is_shadow)


def kept_for(ledger: Ledger) -> dict[str, float]:
    """How long each model's requests are kept, in seconds. For models not listed: `UNSTATED_RETENTION`."""
    under_way = (rollout.plan for rollout in ledger.current() if not rollout.is_ended)
    applied = (Plan.recorded(each.body) for each in ledger.all_applied("plan"))
    return retentions((*applied, *under_way))


def retentions(plans: tuple[Plan, ...]) -> dict[str, float]:
    """How long each model's requests are kept, in seconds: the longest time of its plans."""
    longest: dict[str, float] = defaultdict(float)
    for plan in plans:
        if plan.asks_for_requests or plan.retention is not None:
            longest[plan.model] = max(longest[plan.model], plan.kept_for)
    return dict(longest)


def _asking_model(body: dict[str, object]) -> str | None:
    plan = Plan.recorded(body)
    return plan.model if plan.asks_for_requests else None
