"""Slice store: which values of a header are slices, read and written in the transaction that counts their requests."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sluicegate.services.telemetry.store.schema import slice_values
from sluicegate.services.telemetry.tally.exposure import Exposure
from sluicegate.services.telemetry.tally.slice_values import HeaderValues
from sluicegate.services.telemetry.tally.slicing import values_of, written

_ALL = ""
"""The value under which all requests are counted since values wait."""


def with_slices(connection: Connection, exposures: Sequence[Exposure]) -> list[Exposure]:
    """The requests, each with the values that are slices in place of those that its headers have."""
    if not any(exposure.slices for exposure in exposures):
        return list(exposures)
    seen: defaultdict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    for exposure in exposures:
        for position, value in enumerate(values_of(exposure.slices)):
            seen[exposure.rollout or "", position][value] += 1
    known = {place: _changed(connection, place, counts) for place, counts in seen.items()}
    return [_counted(exposure, known) for exposure in exposures]


def _counted(exposure: Exposure, known: dict[tuple[str, int], HeaderValues]) -> Exposure:
    if exposure.slices is None:
        return exposure
    rollout, values = exposure.rollout or "", values_of(exposure.slices)
    slices = (known[rollout, position].slice_of(value) for position, value in enumerate(values))
    return exposure._replace(slices=written(tuple(slices)))


def _changed(connection: Connection, place: tuple[str, int], counts: Counter[str]) -> HeaderValues:
    """What is known of a rollout's header with these requests; what changed is written down."""
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
