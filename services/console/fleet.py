"""Fleet: the models that have a build in service, in stretches of limited length, so that pages stay short."""

from __future__ import annotations

from dataclasses import dataclass

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.rollout.standing import Standing, standings


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Some of the models, sorted by name."""

    models: tuple[str, ...]
    standings: tuple[Standing, ...]
    """Of these models."""
    first: int
    """Position of the first of them among all models, from 1."""
    total: int
    """The number of all models."""
    next_after: str | None
    """The last of these models, if more follow; otherwise None."""


def stretch(ledger: Ledger, *, model: str | None = None, after: str | None = None, limit: int) -> Stretch:
    """At most `limit` models whose names sort after `after`; with `model`, only that one."""
    all_standings = standings(ledger.current(model))
    models = sorted({standing.model for standing in all_standings})
    rest = [name for name in models if after is None or name > after]
    shown = tuple(rest[:limit])
    return Stretch(
        models=shown,
        standings=tuple(standing for standing in all_standings if standing.model in shown),
        first=len(models) - len(rest) + 1,
        total=len(models),
        next_after=shown[-1] if shown and len(rest) > limit else None,
    )
