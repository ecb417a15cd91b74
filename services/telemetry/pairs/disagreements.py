"""Worst disagreements: the few pairs that differ most, kept for reading; the answers only where the plan allows it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sluicegate.services.telemetry.pairs.comparison import TOP, Comparison
from sluicegate.services.telemetry.pairs.pair import Pair
from sluicegate.services.telemetry.store.pair_schema import worst_pairs
from sluicegate.services.telemetry.store.store import Store

KEPT = 20
"""Pairs of each shadow."""
_CELLS = 8
_TEXT = 300


@dataclass(frozen=True, kw_only=True)
class Worst:
    """A disagreement as it is kept."""

    rollout: str
    rid: str
    distance: float
    at: int
    body: str
    """JSON: segments, how the shapes differ, and cells with column, row, distance and, if allowed, both values."""


def worst_of(rollout: str, pair: Pair, found: Comparison, segments: tuple[str, ...], *, show: bool) -> Worst:
    """What is kept of a pair that differs."""
    differing = sorted((cell for cell in found.cells if cell.distance), key=lambda cell: -cell.distance)
    cells = [
        {"column": cell.column, "row": cell.row, "distance": cell.distance}
        | ({"served": _short(cell.served), "copied": _short(cell.copied)} if show else {})
        for cell in differing
        if cell.column != TOP
    ]
    body = {"segments": list(segments), "schema": found.schema, "cells": cells[:_CELLS]}
    copied = pair.copied
    return Worst(rollout=rollout, rid=copied.rid or "", distance=found.distance, at=copied.at, body=json.dumps(body))


def keep_worst(connection: Connection, store: Store, found: Iterable[Worst]) -> None:
    """Keep the worst of what is there and what is new."""
    by_rollout: dict[str, list[Worst]] = {}
    for each in found:
        by_rollout.setdefault(each.rollout, []).append(each)
    for rollout, some in by_rollout.items():
        most = sorted(some, key=lambda each: (-each.distance, each.rid))[:KEPT]
        columns = ("rollout", "rid", "distance", "at", "body")
        rows = [(each.rollout, each.rid, each.distance, each.at, each.body) for each in most]
        store.insert(connection, worst_pairs, columns, rows)
        ours = worst_pairs.c.rollout == rollout
        kept = sa.select(worst_pairs.c.rid).where(ours).order_by(worst_pairs.c.distance.desc(), worst_pairs.c.rid)
        connection.execute(sa.delete(worst_pairs).where(ours, worst_pairs.c.rid.not_in(kept.limit(KEPT))))


def _short(value: object) -> object:
    return value[:_TEXT] if isinstance(value, str) else value
