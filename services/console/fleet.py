"""Fleet: the models that have a build in service, in stretches of limited length, so that pages stay short."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.rollout.standing import is_served


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Some of the models, sorted by name."""

    models: tuple[str, ...]
    first: int
    """Position of the first of them among all models, from 1."""
    total: int
    """The number of all models."""
    next_after: str | None
    """The last of these models, if more follow; otherwise None."""


def stretch(ledger: Ledger, *, model: str | None = None, after: str | None = None, limit: int) -> Stretch:
    """At most `limit` models whose names sort after `after`; with `model`, only that one."""
    models = ledger.served_models() if model is None else (model,) if is_served(ledger.current(model)) else ()
    first = bisect_right(models, after) if after is not None else 0
    shown = models[first : first + limit]
    return Stretch(
        models=shown,
        first=first + 1,
        total=len(models),
        next_after=shown[-1] if shown and first + limit < len(models) else None,
    )
