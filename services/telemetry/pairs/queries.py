"""ShadowQueries: what others read of shadows, from any process, while the collector writes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from sluicegate.registry.words.tally import Tally
from sluicegate.services.telemetry.pairs.sums import Key
from sluicegate.services.telemetry.store.pair_schema import copies, copy_drops, pair_sums, pairs, worst_pairs
from sluicegate.services.telemetry.store.store import Store


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """One of the worst disagreements."""

    request: str
    at: datetime
    distance: float
    segments: tuple[str, ...]
    schema: str | None
    """How the shapes of the answers differ, if they do."""
    cells: tuple[dict[str, object], ...]
    """Column, row and distance of each value that differs, and both values where the plan allows it."""


class ShadowQueries:
    """Reads a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def sums(self, rollout: str) -> dict[Key, Tally]:
        """Every sum of a shadow's pairs, by segment, subject and key."""
        query = sa.select(pair_sums).where(pair_sums.c.rollout == rollout)
        with self._store.read() as connection:
            rows = connection.execute(query)
            return {(segment, subject, key): Tally(*sums) for _, segment, subject, key, *sums in rows}

    def worst(self, rollout: str) -> tuple[Disagreement, ...]:
        """The disagreements that are largest, largest first."""
        query = sa.select(worst_pairs).where(worst_pairs.c.rollout == rollout)
        query = query.order_by(worst_pairs.c.distance.desc(), worst_pairs.c.rid)
        with self._store.read() as connection:
            return tuple(_disagreement(row) for row in connection.execute(query).mappings())

    def waiting(self, rollout: str) -> int:
        """Copies whose request has not been read."""
        query = sa.select(sa.func.count()).select_from(copies).where(copies.c.rollout == rollout)
        with self._store.read() as connection:
            return connection.scalar(query) or 0

    def stored(self, rollout: str) -> int:
        """Pairs that are kept for labels that come later."""
        query = sa.select(sa.func.count()).select_from(pairs).where(pairs.c.rollout == rollout)
        with self._store.read() as connection:
            return connection.scalar(query) or 0

    def dropped(self, rollout: str) -> int:
        """Copies that the data plane dropped because the shadow was too slow. They are in no other count."""
        query = sa.select(copy_drops.c.n).where(copy_drops.c.rollout == rollout)
        with self._store.read() as connection:
            return connection.scalar(query) or 0


def _disagreement(row: sa.RowMapping) -> Disagreement:
    body = json.loads(row["body"])
    return Disagreement(
        request=row["rid"],
        at=datetime.fromtimestamp(row["at"] / 1e6, UTC),
        distance=row["distance"],
        segments=tuple(body["segments"]),
        schema=body["schema"],
        cells=tuple(body["cells"]),
    )
