"""Captures: bodies that services have captured, each with the data of its request and its outcomes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sluicegate.registry.words.errors import UsageError
from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.store.segments import Finder
from sluicegate.services.telemetry.store.store import Store
from sluicegate.services.telemetry.tally.exposure import Exposure

PAGE_BYTES = 4 << 20
"""The most bytes of bodies in one page."""
_AT_ONCE = 200


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Selects captures of one model, a page at a time."""

    model: str
    build: str | None = None
    """A version; None: every build's, including copies for a shadow."""
    since: int = 0
    until: int = 2**62
    """Microseconds since 1970; `until` itself is excluded."""
    after: str | None = None
    """The previous page's `next_after`."""
    limit: int = 200


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page of captures, oldest first."""

    captures: tuple[dict[str, Any], ...] = field(default=())
    next_after: str | None = None
    """The position after which the next page begins; None: this is the last page."""


def read_captures(store: Store, wanted: Wanted) -> Page:
    """One page. Raises UsageError if `after` is not a position in the captures."""
    with store.read() as connection:
        rows = _rows(connection, wanted)
        is_cut = len(rows) > wanted.limit
        page = _within(rows[: wanted.limit])
        rids = [row["rid"] for row in page]
        requests, outcomes = Finder().by_request(connection, rids), _outcomes(connection, rids)
    captures = tuple(
        _capture(row, requests[row["rid"]][1] if row["rid"] in requests else None, outcomes.get(row["rid"], []))
        for row in page
    )
    has_more = is_cut or len(page) < len(rows)
    return Page(captures=captures, next_after=_place(page[-1]) if has_more else None)


def newest(store: Store, model: str, variation: str, many: int) -> tuple[dict[str, Any], ...]:
    """The newest captured requests to a variation of a model, oldest first; each once, with the answer that its caller
    got. Captures whose request row has been deleted are left out, because their variation is not known."""
    captures: list[dict[str, Any]] = []
    with store.read() as connection:
        for rows in _backwards(connection, model):
            requests = Finder().by_request(connection, [row["rid"] for row in rows])
            pairs = [(row, requests[row["rid"]][1]) for row in rows if row["rid"] in requests]
            ours = [row for row, request in pairs if request.variation == variation and request.served == row["build"]]
            outcomes = _outcomes(connection, [row["rid"] for row in ours])
            captures += [_capture(row, requests[row["rid"]][1], outcomes.get(row["rid"], [])) for row in ours]
            if len(captures) >= many:
                break
    return tuple(reversed(captures[:many]))


def _backwards(connection: Connection, model: str) -> Iterator[Sequence[Any]]:
    """Captured bodies of a model, newest first, in batches."""
    table = schema.bodies
    place = sa.tuple_(table.c.at, table.c.build, table.c.rid)
    query = sa.select(table).where(table.c.model == model, table.c.features.is_not(None))
    query = query.order_by(table.c.at.desc(), table.c.build.desc(), table.c.rid.desc()).limit(_AT_ONCE)
    rows = connection.execute(query).mappings().all()
    while rows:
        yield rows
        last = rows[-1]
        rows = connection.execute(query.where(place < (last["at"], last["build"], last["rid"]))).mappings().all()


def _rows(connection: Connection, wanted: Wanted) -> Sequence[Any]:
    table = schema.bodies
    query = sa.select(table).where(
        table.c.model == wanted.model, table.c.at >= wanted.since, table.c.at < wanted.until
    )  # fmt: skip
    if wanted.build is not None:
        query = query.where(table.c.build == wanted.build)
    if wanted.after is not None:
        at, build, rid = _parsed(wanted.after)
        query = query.where(sa.tuple_(table.c.at, table.c.build, table.c.rid) > (at, build, rid))
    query = query.order_by(table.c.at, table.c.build, table.c.rid).limit(wanted.limit + 1)
    return connection.execute(query).mappings().all()


def _within(rows: Sequence[Any]) -> Sequence[Any]:
    """As many rows as fit into a page, but at least one."""
    size = 0
    for position, row in enumerate(rows):
        size += len(row["features"] or "") + len(row["predictions"] or "")
        if size > PAGE_BYTES and position:
            return rows[:position]
    return rows


def _outcomes(connection: Connection, rids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    table, by_request = schema.outcomes, dict[str, list[dict[str, Any]]]()
    columns = (table.c.rid, table.c.name, table.c.row, table.c.value, table.c.at)
    query = sa.select(*columns).where(table.c.rid.in_(rids)).order_by(table.c.pk)
    for rid, name, row, value, at in connection.execute(query):
        by_request.setdefault(rid, []).append({"name": name, "row": row, "value": json.loads(value), "at": at})
    return by_request


def _capture(row: Any, request: Exposure | None, outcomes: list[dict[str, Any]]) -> dict[str, Any]:
    """One capture in JSON values; unknown fields are null."""
    return {
        "rid": row["rid"],
        "at": row["at"],
        "model": row["model"],
        "build": row["build"],
        "copy": request is not None and request.served != row["build"],
        "variation": request.variation if request else None,
        "audience": request.audience if request else None,
        "rollout": request.rollout if request else None,
        "arm": request.arm if request else None,
        "unit": request.unit if request else None,
        "headers": _loaded(row["headers"]) or {},
        "request": _loaded(row["features"]),
        "answer": _loaded(row["predictions"]),
        "outcomes": outcomes,
    }


def _loaded(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _place(row: Any) -> str:
    return f"{row['at']}:{row['build']}:{row['rid']}"


def _parsed(after: str) -> tuple[int, str, str]:
    at, _, rest = after.partition(":")
    build, is_whole, rid = rest.partition(":")
    if not (at.isascii() and at.isdigit() and is_whole) or len(at) > 18:
        raise UsageError(
            f"after: {after[:80]!r} is not a position in the captures.",
            fix="send next_after exactly as it was received",
        )
    return int(at), build, rid
