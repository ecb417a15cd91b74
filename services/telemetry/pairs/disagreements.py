"""The worst disagreements of each shadow, stored for people to read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sluicegate.services.telemetry.outcomes.outcome import microseconds
from sluicegate.services.telemetry.pairs.disagreement import Disagreement
from sluicegate.services.telemetry.store.pair_schema import worst_pairs
from sluicegate.services.telemetry.store.store import Store

KEPT = 20
"""The most pairs stored for each shadow."""


def keep_worst(connection: Connection, store: Store, rollout: str, disagreements: Iterable[Disagreement]) -> None:
    """Keep the worst of the stored and the new disagreements."""
    worst = sorted(disagreements, key=lambda each: (-each.distance, each.request))[:KEPT]
    rows = [(rollout, each.request, each.distance, microseconds(each.at), _body(each)) for each in worst]
    store.insert(connection, worst_pairs, rows)
    ours = worst_pairs.c.rollout == rollout
    kept = _worst_first(sa.select(worst_pairs.c.rid).where(ours)).limit(KEPT)
    connection.execute(sa.delete(worst_pairs).where(ours, worst_pairs.c.rid.not_in(kept)))


def read_worst(connection: Connection, rollout: str) -> tuple[Disagreement, ...]:
    """The stored disagreements, worst first."""
    rows = connection.execute(_worst_first(sa.select(worst_pairs).where(worst_pairs.c.rollout == rollout)))
    return tuple(_disagreement(row) for row in rows.mappings())


def _worst_first(query: sa.Select[Any]) -> sa.Select[Any]:
    return query.order_by(worst_pairs.c.distance.desc(), worst_pairs.c.rid)


def _body(disagreement: Disagreement) -> str:
    return json.dumps({name: getattr(disagreement, name) for name in ("segments", "schema", "beyond", "cells")})


def _disagreement(row: sa.RowMapping) -> Disagreement:
    body = json.loads(row["body"])
    return Disagreement(
        request=row["rid"], at=datetime.fromtimestamp(row["at"] / 1e6, UTC), distance=row["distance"],
        segments=tuple(body["segments"]), schema=body["schema"], beyond=tuple(body["beyond"]),
        cells=tuple(body["cells"]),
    )  # fmt: skip
