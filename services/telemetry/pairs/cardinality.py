"""Bounds: limits on the keys by which a shadow's sums are split. Beyond a limit, all new keys become `(other)`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sluicegate.registry.words.tally import Tally
from sluicegate.services.telemetry.pairs.sums import OTHER, Key
from sluicegate.services.telemetry.store.pair_schema import pair_sums

MOST_VALUES = 50
"""The most values of one header."""
MOST_LABELS = 400
"""The most cells of one column's confusion table, and the most descriptions of differing shapes."""


class Bounds:
    """The keys of each shadow, cached from the table of sums."""

    def __init__(self) -> None:
        self._segments: dict[str, set[str]] = {}
        self._labels: dict[str, dict[str, set[str]]] = {}

    def segments(self, connection: Connection, rollout: str, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """The segments under which a pair is counted, with `(other)` beyond the limit."""
        admitted = self._segments.get(rollout)
        if admitted is None:
            query = sa.select(pair_sums.c.segment).where(pair_sums.c.rollout == rollout).distinct()
            admitted = self._segments[rollout] = set(connection.scalars(query))
        return tuple(_admit(admitted, segment) for segment in wanted)

    def labels(self, connection: Connection, rollout: str, tallies: Mapping[Key, Tally]) -> dict[Key, Tally]:
        """The tallies with labels beyond the limit merged into `(other)`."""
        labels = self._labels.get(rollout)
        if labels is None:
            labels = self._labels[rollout] = self._read(connection, rollout)
        bounded: defaultdict[Key, Tally] = defaultdict(Tally)
        for (segment, subject, key), tally in tallies.items():
            admitted = key
            if _is_bounded(subject, key) and key not in labels[subject]:
                admitted = key if len(labels[subject]) < MOST_LABELS else OTHER
                labels[subject].add(admitted)
            bounded[segment, subject, admitted] += tally
        return bounded

    def _read(self, connection: Connection, rollout: str) -> dict[str, set[str]]:
        labels: dict[str, set[str]] = defaultdict(set)
        query = sa.select(pair_sums.c.what, pair_sums.c.key).where(pair_sums.c.rollout == rollout)
        for subject, key in connection.execute(query):
            if _is_bounded(subject, key):
                labels[subject].add(key)
        return labels


def _admit(admitted: set[str], segment: str) -> str:
    if segment in admitted:
        return segment
    name = segment.partition("=")[0]
    values = Counter(each.partition("=")[0] for each in admitted)[name]
    counted = segment if values < MOST_VALUES else f"{name}={OTHER}"
    admitted.add(counted)
    return counted


def _is_bounded(subject: str, key: str) -> bool:
    return subject == "schema" or key.startswith("[")
