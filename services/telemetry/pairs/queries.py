"""ShadowQueries: reads the data of shadows from any process while the collector writes."""

from __future__ import annotations

import sqlalchemy as sa

from sluicegate.registry.words.tally import Tally
from sluicegate.services.telemetry.pairs.disagreement import Disagreement
from sluicegate.services.telemetry.pairs.disagreements import read_worst
from sluicegate.services.telemetry.pairs.sums import Key
from sluicegate.services.telemetry.store.pair_schema import copies, copy_drops, pair_sums, pairs
from sluicegate.services.telemetry.store.store import Store


class ShadowQueries:
    """Reads the data of shadows from a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def sums(self, rollout: str) -> dict[Key, Tally]:
        """Every sum of a shadow's pairs, by segment, subject and key."""
        query = sa.select(pair_sums).where(pair_sums.c.rollout == rollout)
        with self._store.read() as connection:
            rows = connection.execute(query)
            return {(segment, subject, key): Tally(*sums) for _, segment, subject, key, *sums in rows}

    def worst(self, rollout: str) -> tuple[Disagreement, ...]:
        """The largest disagreements, largest first."""
        with self._store.read() as connection:
            return read_worst(connection, rollout)

    def waiting(self, rollout: str) -> int:
        """The number of copies whose request has not been read yet."""
        return self._number(sa.select(sa.func.count()).where(copies.c.rollout == rollout))

    def stored(self, rollout: str) -> int:
        """The number of pairs stored for later labels."""
        return self._number(sa.select(sa.func.count()).where(pairs.c.rollout == rollout))

    def dropped(self, rollout: str) -> int:
        """The number of copies that the data plane dropped because the shadow was too slow. No other count has them."""
        return self._number(sa.select(sa.func.sum(copy_drops.c.n)).where(copy_drops.c.rollout == rollout))

    def _number(self, query: sa.Select[tuple[int]]) -> int:
        with self._store.read() as connection:
            return int(connection.scalar(query) or 0)
