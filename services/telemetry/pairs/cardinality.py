"""Bounds: what a shadow's sums may be split by. Beyond a bound everything new goes to one key `(other)`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sluicegate.registry.words.tally import Tally
from sluicegate.services.telemetry.pairs.sums import OTHER, Key
from sluicegate.services.telemetry.store.pair_schema import pair_sums

MOST_VALUES = 50
"""Values of one header."""
MOST_LABELS = 400
"""Cells of one column's confusion table, and ways in which shapes differ."""


class Bounds:
    """Remembers which keys each shadow has; forgets nothing that the table does not hold."""

    def __init__(self) -> None:
        self._segments: dict[str, set[str]] = {}
        self._labels: dict[str, dict[str, set[str]]] = {}

    def segments(self, connection: Connection, rollout: str, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """The segments as they are counted."""
        known = self._segments.get(rollout)
        if known is None:
            query = sa.select(pair_sums.c.segment).where(pair_sums.c.rollout == rollout).distinct()
            known = self._segments[rollout] = set(connection.scalars(query))
        return tuple(_admit(known, segment) for segment in wanted)

    def labels(self, connection: Connection, rollout: str, tallies: Mapping[Key, Tally]) -> dict[Key, Tally]:
        """The tallies with no more labels than may be."""
        known = self._labels.get(rollout)
        if known is None:
            known = self._labels[rollout] = self._read(connection, rollout)
        bounded: defaultdict[Key, Tally] = defaultdict(Tally)
        for (segment, subject, key), tally in tallies.items():
            admitted = key
            if _is_bounded(subject, key) and key not in known[subject]:
                admitted = key if len(known[subject]) < MOST_LABELS else OTHER
                known[subject].add(admitted)
            bounded[segment, subject, admitted] += tally
        return bounded

    def _read(self, connection: Connection, rollout: str) -> dict[str, set[str]]:
        labels: dict[str, set[str]] = defaultdict(set)
        query = sa.select(pair_sums.c.what, pair_sums.c.key).where(pair_sums.c.rollout == rollout)
        for subject, key in connection.execute(query):
            if _is_bounded(subject, key):
                labels[subject].add(key)
        return labels


def _admit(known: set[str], segment: str) -> str:
    if segment in known:
        return segment
    name = segment.partition("=")[0]
    taken = Counter(each.partition("=")[0] for each in known)[name]
    admitted = segment if taken < MOST_VALUES else f"{name}={OTHER}"
    known.add(admitted)
    return admitted


def _is_bounded(subject: str, key: str) -> bool:
    return subject == "schema" or key.startswith("[")
