"""Slice store: the header values that are slices, read and written in the transaction that counts their requests."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sluicegate.services.telemetry.store.schema import slice_values
from sluicegate.services.telemetry.tally.batch import Batch
from sluicegate.services.telemetry.tally.slice_values import HeaderValues
from sluicegate.services.telemetry.tally.slicing import values_of, written

_ALL = ""
"""The key for the number of all requests since values began to wait."""


def with_slices(connection: Connection, batch: Batch) -> Batch:
    """The requests with each header value replaced by its slice."""
    if batch.slices is None:
        return batch
    origins = [(batch.kinds[kind].rollout or "", text) for kind, text in zip(batch.kind, batch.slices, strict=True)]
    counts: defaultdict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    for (rollout, text), n in Counter(origins).items():
        for position, value in enumerate(values_of(text)):
            counts[rollout, position][value] += n
    headers = {place: _changed(connection, place, by_value) for place, by_value in counts.items()}
    sliced = {origin: _sliced(*origin, headers) for origin in dict.fromkeys(origins)}
    return replace(batch, slices=[sliced[origin] for origin in origins])


def _sliced(rollout: str, text: str | None, headers: dict[tuple[str, int], HeaderValues]) -> str | None:
    if text is None:
        return None
    return written(tuple(headers[rollout, position].slice_of(value) for position, value in enumerate(values_of(text))))


def _changed(connection: Connection, place: tuple[str, int], counts: Counter[str]) -> HeaderValues:
    """Update the values of a rollout's header with these requests, and store what has changed."""
    rollout, position = place
    ours = sa.and_(slice_values.c.rollout == rollout, slice_values.c.position == position)
    rows = connection.execute(
        sa.select(slice_values.c.value, slice_values.c.waits, slice_values.c.requests).where(ours)
    )
    had = {value: (bool(waits), requests) for value, waits, requests in rows}
    before = HeaderValues(
        slices=frozenset(value for value, (waits, _) in had.items() if not waits),
        waiting={value: n for value, (waits, n) in had.items() if waits and value != _ALL},
        requests=had.get(_ALL, (True, 0))[1],
    )
    after = before.after(counts)
    new = {
        **dict.fromkeys(after.slices, (False, 0)),
        **{value: (True, n) for value, n in after.waiting.items()},
        **({_ALL: (True, after.requests)} if after.requests else {}),
    }
    gone = [value for value in had if value not in new]
    changed = [value for value, each in new.items() if had.get(value) != each]
    if gone or changed:
        connection.execute(sa.delete(slice_values).where(ours, slice_values.c.value.in_([*gone, *changed])))
    if changed:
        values = [
            {
                "rollout": rollout,
                "position": position,
                "value": value,
                "waits": new[value][0],
                "requests": new[value][1],
            }
            for value in sorted(changed)
        ]
        connection.execute(sa.insert(slice_values), values)
    return after
