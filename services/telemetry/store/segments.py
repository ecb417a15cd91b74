"""Segments: exposures are exposures by request id or unit inside runs of consecutive rows.

One index over all request ids would be written to at random: each row then costs a page of its own, and a large
table slows the collector down to a fraction. Inside a segment the index is small and stays in memory. Looking up means
asking each segment; labels mostly come with about the same delay, so the segments of the last finds are asked first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from zlib import crc32

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.tally.exposure import Exposure

_BITS = 14
"""A segment has 2 ** _BITS rows."""
_PROBES = 100_000
"""Index probes in one query at most."""
_PARAMETERS = 5_000
_HINTS = 8

EXPOSURE = tuple(schema.exposures.c[name] for name in Exposure._fields)


def key_of(text: str) -> int:
    """A number by which a request id or unit is indexed; different texts may share it."""
    return crc32(text.encode())


def numbered(exposures: Sequence[Exposure], before: int) -> list[tuple[Any, ...]]:
    """Rows for the table of exposures, with ids from `before + 1`."""
    return [
        (
            number, number >> _BITS, key_of(exposure.rid or ""),
            None if exposure.unit is None else key_of(exposure.unit), *exposure,
        )
        for number, exposure in enumerate(exposures, before + 1)
    ]  # fmt: skip


def spans(exposures: Sequence[Exposure], before: int) -> list[tuple[int, int, int, int]]:
    """Rows for the table of segments, to be merged into what is there."""
    times: defaultdict[int, list[int]] = defaultdict(list)
    for number, exposure in enumerate(exposures, before + 1):
        times[number >> _BITS].append(exposure.at)
    return [(segment, min(starts), max(starts), len(starts)) for segment, starts in times.items()]


def ids_of(segment: int) -> tuple[int, int]:
    """The first id of a segment and of the next."""
    return segment << _BITS, (segment + 1) << _BITS


class Finder:
    """Finds exposures; remembers which segments the last ones were in."""

    def __init__(self) -> None:
        self._hints: list[int] = []

    def by_request(self, connection: Connection, rids: Iterable[str]) -> dict[str, tuple[int, Exposure]]:
        """The exposure of each request id that is known, with its id. The gateway draws ids; none comes twice."""
        wanted = dict.fromkeys(rids)
        exposures: dict[str, tuple[int, Exposure]] = {}
        everything = [segment for segment, _ in _segments(connection)]
        likely = [segment for segment in dict.fromkeys([*self._hints, *everything[:2]]) if segment in set(everything)]
        hits: dict[int, None] = {}
        for group in (likely, [segment for segment in everything if segment not in set(likely)]):
            missing = [rid for rid in wanted if rid not in exposures]
            for segment, number, exposure in _probe(connection, group, missing):
                hits[segment] = None
                rid = exposure.rid or ""
                if rid in wanted:
                    exposures[rid] = (number, exposure)
        self._hints = [*hits, *(hint for hint in self._hints if hint not in hits)][:_HINTS]
        return exposures

    def last_of_unit(self, connection: Connection, model: str, unit: str, at: int) -> tuple[int, Exposure] | None:
        """A unit's last request of a model at or before a time in microseconds, with its id."""
        best: tuple[int, Exposure] | None = None
        for segment, last_at in _segments(connection, first_before=at):
            if best is None or last_at > best[1].at:
                last = _last_in(connection, segment, model, unit, at)
                best = last if best is None or (last is not None and last[1].at > best[1].at) else best
        return best


def by_id(connection: Connection, ids: Sequence[int]) -> Mapping[int, Exposure]:
    """The exposures with these ids."""
    table = schema.exposures
    exposures: dict[int, Exposure] = {}
    for start in range(0, len(ids), 500):
        query = sa.select(table.c.id, *EXPOSURE).where(table.c.id.in_(ids[start : start + 500]))
        exposures |= {row[0]: Exposure(*row[1:]) for row in connection.execute(query)}
    return exposures


def _segments(connection: Connection, first_before: int | None = None) -> list[tuple[int, int]]:
    """Segments, newest first, with the last time in each; with a time, those that begin at or before it."""
    table = schema.segments
    query = sa.select(table.c.segment, table.c.last_at).order_by(table.c.segment.desc())
    if first_before is not None:
        query = query.where(table.c.first_at <= first_before)
    return [(segment, last_at) for segment, last_at in connection.execute(query)]


def _last_in(connection: Connection, segment: int, model: str, unit: str, at: int) -> tuple[int, Exposure] | None:
    table = schema.exposures
    query = (
        sa.select(table.c.id, *EXPOSURE)
        .where(table.c.segment == segment, table.c.unit_key == key_of(unit))
        .where(table.c.unit == unit, table.c.model == model, table.c.at <= at, table.c.rid.is_not(None))
        .order_by(table.c.at.desc(), table.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return None if row is None else (row[0], Exposure(*row[1:]))


def _probe(connection: Connection, segments: Sequence[int], rids: Sequence[str]) -> Iterable[tuple[int, int, Exposure]]:
    """Segment, id and exposure of every row whose key is one of the request ids'."""
    table = schema.exposures
    keys = [key_of(rid) for rid in rids]
    if not segments:
        return
    for keys_start in range(0, len(keys), 500):
        some = keys[keys_start : keys_start + 500]
        width = min(_PROBES // len(some), _PARAMETERS)
        for start in range(0, len(segments), width):
            query = sa.select(table.c.segment, table.c.id, *EXPOSURE).where(
                table.c.segment.in_(segments[start : start + width]), table.c.rid_key.in_(some)
            )
            for row in connection.execute(query):
                yield row[0], row[1], Exposure(*row[2:])
