"""Fleet: the models that something serves, a stretch at a time, so that no page grows with their number."""

from __future__ import annotations

from dataclasses import dataclass

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.rollout.standing import Standing, standings


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Some of the models, in order of name."""

    models: tuple[str, ...]
    standings: tuple[Standing, ...]
    """Of these models."""
    first: int
    """Place of the first among all, from 1."""
    total: int
    """How many there are in all."""
    next_after: str | None
    """The last of these, where more come after it."""


def stretch(ledger: Ledger, *, model: str | None = None, after: str | None = None, limit: int) -> Stretch:
    """At most `limit` models whose name comes after `after`; or the one that is asked for."""
    there = standings(ledger.current(model))
    known = sorted({standing.model for standing in there})
    rest = [name for name in known if after is None or name > after]
    shown = tuple(rest[:limit])
    return Stretch(
        models=shown,
        standings=tuple(standing for standing in there if standing.model in shown),
        first=len(known) - len(rest) + 1,
        total=len(known),
        next_after=shown[-1] if shown and len(rest) > limit else None,
    )
