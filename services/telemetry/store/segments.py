"""Segments: find exposures by request id or unit, inside runs of consecutive rows.

An index over all request ids would be written at random places, and be larger than the rows themselves. Instead, a full
segment is sealed: an index of its request ids and units is written once, as pages of sorted hashes. The newest segment
is searched without one. A lookup reads one page of each segment; labels mostly arrive with about the same delay, so the
segments of the last matches are searched first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from typing import Any, Final
from zlib import crc32

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from sluicegate.services.telemetry.store import row_numbers, schema
from sluicegate.services.telemetry.store.rows import all_packed, exposure_of, packed, parted
from sluicegate.services.telemetry.store.store import Store
from sluicegate.services.telemetry.tally.batch import NO_DURATION, Batch
from sluicegate.services.telemetry.tally.exposure import Exposure

_PAGE_SHIFT, _MARK_SHIFT = 25, 9
"""The first 7 of a hash's 32 bits are the number of its page; the next 16 are the entry's mark."""
_ENTRY = np.dtype([("mark", "<u2"), ("place", "<u2")])
_REQUEST: Final = 0
_UNIT: Final = 1
_AT_ONCE = 500
_PAGES = 20_000
"""The most pages read in one query."""
_HINTS = 8
_SEALED_AT_ONCE = 4
_LEFT_AFTER = 3_600_000_000
"""Microseconds without a request after which another writer's segment is sealed."""

COLUMNS = (
    *(schema.exposures.c[name] for name in ("rid", "at", "unit", "duration", "answer", "slices")),
    *(column for column in schema.kinds.c if column is not schema.kinds.c.kind),
)
"""The columns that `rows.exposure_of` reads."""
WITH_KINDS = schema.exposures.join(schema.kinds, schema.kinds.c.kind == schema.exposures.c.kind)


def keep(
    store: Store, connection: Connection, given: row_numbers.Numbers, batch: Batch, width: int
) -> Sequence[range]:  # fmt: skip
    """Store requests, and return their ids; `width` is the length of their time buckets in seconds.

    Only their rows are written before the write lock is taken.
    """
    taken = given.take(connection, len(batch))
    kinds_of, answers, kinds = parted(batch, width)
    times = batch.at.tolist()
    durations: Sequence[int | None] = batch.duration.tolist()
    if NO_DURATION in durations:
        durations = [None if each == NO_DURATION else each for each in durations]
    ids = [*chain(*taken)]
    slices = batch.slices or [None] * len(batch)
    rows = zip(ids, kinds_of, all_packed(batch.rids), times, batch.units, durations, answers, slices, strict=True)
    store.insert_new(connection, schema.exposures, list(rows))
    store.take_turn(connection)
    if not taken:
        return taken
    store.insert(connection, schema.kinds, [(number, *kind) for number, kind in kinds.items()])
    spans, having = [], []
    bounds = [0, *np.flatnonzero(np.diff(np.array(ids, np.int64) >> row_numbers.BITS) != 0) + 1, len(ids)]
    for begin, end in pairwise(bounds):
        segment = ids[begin] >> row_numbers.BITS
        spans.append((segment, min(times[begin:end]), max(times[begin:end]), end - begin, 0))
        having += [(segment, number) for number in set(kinds_of[begin:end])]
    store.insert(connection, schema.segment_kinds, having)
    given.check(connection, [segment for segment, *_ in spans])
    store.add(connection, schema.segments, spans, {"first_at": "min", "last_at": "max", "sealed": "max"})
    if store.is_sqlite:
        _seal(store, connection, schema.segments.c.segment < spans[-1][0])
    elif given.has_moved:
        _seal(store, connection, _is_left(given.behind, spans[-1][2]))
    return taken


def _is_left(behind: Collection[int], newest: int) -> sa.ColumnElement[bool]:
    """Whether a segment is no longer being filled: this writer has finished it, or nobody has written to it for long.
    If its writer does so after all, `Numbers.check` notices."""
    return sa.or_(schema.segments.c.segment.in_(behind), schema.segments.c.last_at < newest - _LEFT_AFTER)


def segment_of(number: int) -> int:
    """The segment of a request."""
    return number >> row_numbers.BITS


def ids_of(segment: int) -> tuple[int, int]:
    """The first ids of a segment and of the next one."""
    return segment << row_numbers.BITS, (segment + 1) << row_numbers.BITS


class Finder:
    """Finds exposures; remembers the segments of the last matches."""

    def __init__(self) -> None:
        self._hints: list[int] = []

    def by_request(self, connection: Connection, rids: Iterable[str]) -> dict[str, tuple[int, Exposure]]:
        """The exposure of each stored request id, with its number. The gateway's request ids are unique."""
        wanted = {rid: packed(rid) or b"" for rid in rids}
        exposures: dict[str, tuple[int, Exposure]] = {}
        segments = {each.segment: each for each in _segments(connection)}
        likely = [each for each in dict.fromkeys([*self._hints, *list(segments)[:2]]) if each in segments]
        hits: dict[int, None] = {}
        for group in (likely, [segment for segment in segments if segment not in set(likely)]):
            missing = [raw for rid, raw in wanted.items() if rid not in exposures]
            candidates = _having(connection, [segments[segment] for segment in group], missing)
            for number, exposure in by_id(connection, candidates).items():
                if exposure.rid in wanted:
                    hits[number >> row_numbers.BITS] = None
                    exposures[exposure.rid] = (number, exposure)
        self._hints = [*hits, *(hint for hint in self._hints if hint not in hits)][:_HINTS]
        return exposures

    def last_of_unit(self, connection: Connection, model: str, unit: str, at: int) -> tuple[int, Exposure] | None:
        """A unit's last request to a model at or before a time in microseconds, with its number."""
        best: tuple[int, Exposure] | None = None
        for segment in _segments(connection, model=model, first_before=at):
            if best is None or segment.last_at > best[1].at:
                last = _last_in(connection, segment, model, unit, at)
                best = last if best is None or (last is not None and last[1].at > best[1].at) else best
        return best


def by_id(connection: Connection, ids: Sequence[int]) -> Mapping[int, Exposure]:
    """The exposures with these ids."""
    table = schema.exposures
    exposures: dict[int, Exposure] = {}
    for start in range(0, len(ids), _AT_ONCE):
        query = sa.select(table.c.id, *COLUMNS).select_from(WITH_KINDS).where(table.c.id.in_(ids[start : start + 500]))
        exposures |= {row[0]: exposure_of(row[1:]) for row in connection.execute(query)}
    return exposures


def _segments(
    connection: Connection, *, model: str | None = None, first_before: int | None = None
) -> list[sa.Row[tuple[int, int, int]]]:
    """The number, last time and seal of each segment, newest first; only those of a model, or begun by a time."""
    table, having = schema.segments, schema.segment_kinds
    query = sa.select(table.c.segment, table.c.last_at, table.c.sealed).order_by(table.c.segment.desc())
    if first_before is not None:
        query = query.where(table.c.first_at <= first_before)
    if model is not None:
        of_model = sa.select(schema.kinds.c.kind).where(schema.kinds.c.model == model)
        query = query.where(table.c.segment.in_(sa.select(having.c.segment).where(having.c.kind.in_(of_model))))
    return list(connection.execute(query))


def _last_in(
    connection: Connection, segment: sa.Row[tuple[int, int, int]], model: str, unit: str, at: int
) -> tuple[int, Exposure] | None:  # fmt: skip
    table, kinds = schema.exposures, schema.kinds
    first, end = ids_of(segment.segment)
    query = sa.select(table.c.id, *COLUMNS).select_from(WITH_KINDS).where(table.c.id >= first, table.c.id < end)
    if segment.sealed:
        query = query.where(table.c.id.in_(_entries(connection, [segment.segment], _UNIT, [crc32(unit.encode())])))
    query = query.where(table.c.unit == unit, kinds.c.model == model, table.c.at <= at, table.c.rid.is_not(None))
    row = connection.execute(query.order_by(table.c.at.desc(), table.c.id.desc()).limit(1)).first()
    return None if row is None else (row[0], exposure_of(row[1:]))


def _having(
    connection: Connection, segments: Sequence[sa.Row[tuple[int, int, int]]], rids: Sequence[bytes]
) -> list[int]:  # fmt: skip
    """The numbers of rows that may have one of the request ids."""
    if not rids:
        return []
    sealed = [each.segment for each in segments if each.sealed]
    numbers = _entries(connection, sealed, _REQUEST, [_hash_of_request(rid) for rid in rids])
    table = schema.exposures
    for first, end in (ids_of(each.segment) for each in segments if not each.sealed):
        for start in range(0, len(rids), _AT_ONCE):
            query = sa.select(table.c.id).where(table.c.id >= first, table.c.id < end)
            numbers += connection.scalars(query.where(table.c.rid.in_(rids[start : start + _AT_ONCE])))
    return numbers


def _entries(connection: Connection, segments: Sequence[int], what: int, hashes: Sequence[int]) -> list[int]:
    """The numbers of rows in sealed segments whose request id or unit may have one of the hashes."""
    marks: defaultdict[int, set[int]] = defaultdict(set)
    for number in hashes:
        marks[number >> _PAGE_SHIFT].add(number >> _MARK_SHIFT & 0xFFFF)
    wanted = {page: np.fromiter(each, np.uint16) for page, each in marks.items()}
    table, numbers = schema.lookups, list[int]()
    width = max(_PAGES // len(wanted), 1)
    for start in range(0, len(segments), width):
        query = sa.select(table.c.segment, table.c.page, table.c.entries).where(
            table.c.segment.in_(segments[start : start + width]), table.c.what == what, table.c.page.in_(list(wanted))
        )
        for segment, page, entries in connection.execute(query):
            rows = np.frombuffer(entries, _ENTRY)
            places = rows["place"][np.isin(rows["mark"], wanted[page])]
            numbers += [(segment << row_numbers.BITS) + place for place in places.tolist()]
    return numbers


def _seal(store: Store, connection: Connection, is_full: sa.ColumnElement[bool]) -> None:
    """Write the indexes of full segments, of a few at a time."""
    table, exposures = schema.segments, schema.exposures
    full = sa.select(table.c.segment).where(table.c.sealed == 0, is_full)
    for segment in connection.scalars(full.order_by(table.c.segment).limit(_SEALED_AT_ONCE)).all():
        first, end = ids_of(segment)
        query = sa.select(exposures.c.id, exposures.c.rid, exposures.c.unit)
        rows = connection.execute(query.where(exposures.c.id >= first, exposures.c.id < end)).all()
        ids, rids, named = tuple(zip(*rows, strict=True)) or ((), (), ())
        requests, units = _hashed(ids, first, rids, _hashes_of_requests), _hashed(ids, first, named, _hashes_of_units)
        pages = [(segment, what, *page) for what, each in enumerate((requests, units)) for page in _pages(each)]
        store.insert(connection, schema.lookups, pages)
        connection.execute(sa.update(table).where(table.c.segment == segment).values(sealed=1))


def _hashed(
    ids: Sequence[int], first: int, values: Sequence[Any], hashes_of: Callable[[Sequence[Any]], NDArray[np.int64]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The positions in the segment of the rows that have a value, and the hashes of the values."""
    has_value = np.array([value is not None for value in values], np.bool_)
    present = [value for value in values if value is not None]
    return (np.array(ids, np.int64) - first)[has_value], hashes_of(present)


def _pages(entries: tuple[NDArray[np.int64], NDArray[np.int64]]) -> Iterator[tuple[int, bytes]]:
    """Pages of entries, each with its number; `entries` are positions in the segment, and hashes."""
    places, hashes = entries
    if not len(places):
        return
    order = np.argsort(hashes)
    rows = np.empty(len(places), _ENTRY)
    rows["mark"], rows["place"] = hashes[order] >> _MARK_SHIFT & 0xFFFF, places[order]
    pages = hashes[order] >> _PAGE_SHIFT
    starts = np.flatnonzero(np.diff(pages, prepend=-1))
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(places)], strict=True):
        yield int(pages[start]), rows[start:end].tobytes()


def _hashes_of_requests(rids: Sequence[bytes]) -> NDArray[np.int64]:
    if set(map(len, rids)) == {16}:
        return np.frombuffer(b"".join(rids), ">u4")[::4].astype(np.int64)
    return np.array([_hash_of_request(rid) for rid in rids], np.int64)


def _hashes_of_units(units: Sequence[str]) -> NDArray[np.int64]:
    return np.array([crc32(unit.encode()) for unit in units], np.int64)


def _hash_of_request(rid: Any) -> int:
    """A hash of 32 bits. For a UUID its first 32 bits, which are random."""
    return int.from_bytes(rid[:4]) if len(rid) == 16 else crc32(rid)
