"""Unit store: the sums of units, read and written in the transaction that tallies their requests."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.tally.batch import integers
from sluicegate.services.telemetry.tally.unit_accumulator import (
    Entry,
    Epochs,
    Step,
    Sums,
    UnitAccumulator,
    added,
    enter,
)
from sluicegate.services.telemetry.tally.unit_codec import Entries, packed_sums, unpacked_sums
from sluicegate.services.telemetry.tally.unit_sheet import Known, UnitSheet, changed

_AT_ONCE = 5_000
"""The most units in one query."""
Rows = list[tuple[Any, ...]]


def changes(connection: Connection, gathered: UnitAccumulator) -> tuple[Rows, Rows]:
    """The new rows of units, sorted by key, and the rows to add to the unit sums."""
    rows: Rows = []
    steps: Counter[Step] = Counter(gathered.loose)
    of_rollout: defaultdict[str, dict[int, Epochs]] = defaultdict(dict)
    for (rollout, unit), new in gathered.entries.items():
        of_rollout[rollout][unit] = new
    for rollout, units in sorted(of_rollout.items()):
        stored = _stored_epochs(connection, rollout, list(units))
        after = [
            (unit, epoch, entry)
            for unit, new in sorted(units.items())
            for epoch, entry in enter(stored.get(unit, {}), new, rollout, steps).items()
        ]
        sums = packed_rows(connection, rollout, [entry.sums for _, _, entry in after])
        rows += [
            (rollout, unit, epoch, entry.arm, entry.weight, entry.bucket, text)
            for (unit, epoch, entry), text in zip(after, sums, strict=True)
        ]
    return rows, [(*place, *sums) for place, sums in added(steps).items()]


def changes_of_sheet(connection: Connection, rollout: str, sheet: UnitSheet) -> tuple[Rows, Rows]:
    """The same as `changes`, for a sheet of requests of one rollout."""
    keys, _, has_unit = sheet.columns()
    stored = list(_rows_of(connection, rollout, np.unique(keys[has_unit]).tolist()))
    known = [Known(unit, epoch, Entry(arm, weight, bucket)) for unit, epoch, arm, weight, bucket, _ in stored]
    positions = _positions(connection, rollout, ())
    had = unpacked_sums([text for *_, text in stored])
    places = np.zeros(len(positions), np.int64)
    for name, position in positions.items():
        places[position] = sheet.metrics.setdefault(name, len(sheet.metrics))
    after = changed(sheet, known, had._replace(metric=places[had.metric]))
    names = list(sheet.metrics)
    used = {place: names[place] for place in np.unique(after.entries.metric).tolist()}
    positions = _positions(connection, rollout, used.values())
    position_of = np.zeros(len(names), np.int64)
    position_of[list(used)] = [positions[name] for name in used.values()]
    entries = after.entries._replace(metric=position_of[after.entries.metric])
    texts = packed_sums(entries, len(after.rows))
    units = [(rollout, *row, text) for row, text in zip(after.rows, texts, strict=True)]
    return units, [(rollout, *row) for row in after.sums]


def packed_rows(connection: Connection, rollout: str, sums: Sequence[Sums]) -> list[bytes]:
    """The sums of a rollout's units in the storage format."""
    positions = _positions(connection, rollout, dict.fromkeys(metric for each in sums for metric, _, _ in each))
    entries = [(unit, positions[metric], x, n) for unit, each in enumerate(sums) for metric, x, n in each]
    units, metrics, xs, ns = zip(*entries, strict=True) if entries else ((), (), (), ())
    return packed_sums(Entries(integers(units), integers(metrics), np.array(xs, np.float64), integers(ns)), len(sums))


def _stored_epochs(connection: Connection, rollout: str, units: Sequence[int]) -> dict[int, Epochs]:
    rows = list(_rows_of(connection, rollout, units))
    names = {position: name for name, position in _positions(connection, rollout, ()).items()}
    sums: list[list[tuple[str, float, int]]] = [[] for _ in rows]
    had = unpacked_sums([text for *_, text in rows])
    for unit, metric, x, n in zip(*(each.tolist() for each in had), strict=True):
        sums[unit].append((names[metric], x, n))
    epochs: defaultdict[int, Epochs] = defaultdict(dict)
    for (unit, epoch, arm, weight, bucket, _), each in zip(rows, sums, strict=True):
        epochs[unit][epoch] = Entry(arm, weight, bucket, tuple(each))
    return epochs


def _positions(connection: Connection, rollout: str, metrics: Iterable[str]) -> dict[str, int]:
    """The number of each metric of a rollout; metrics that have none get one."""
    table = schema.unit_metrics
    query = sa.select(table.c.metric, table.c.position).where(table.c.rollout == rollout)
    positions: dict[str, int] = dict(connection.execute(query).tuples().all())
    new = [metric for metric in metrics if metric not in positions]
    first = max(positions.values(), default=-1) + 1
    given = {metric: first + place for place, metric in enumerate(new)}
    rows = [{"rollout": rollout, "metric": metric, "position": place} for metric, place in given.items()]
    if rows:
        connection.execute(sa.insert(table), rows)
    return positions | given


def _rows_of(connection: Connection, rollout: str, units: Sequence[int]) -> Iterable[tuple[Any, ...]]:
    for start in range(0, len(units), _AT_ONCE):
        yield from connection.execute(_of_units(connection, rollout, units[start : start + _AT_ONCE])).tuples().all()


def _of_units(connection: Connection, rollout: str, keys: Sequence[int]) -> sa.Select[Any]:
    """The rows of units. All keys are one parameter, so that the statement does not depend on their number."""
    table = schema.units
    if connection.dialect.name == "sqlite":
        each = sa.func.json_each(sa.bindparam("keys", orjson.dumps(keys).decode())).table_valued("value")
        is_wanted: sa.ColumnElement[bool] = table.c.unit.in_(sa.select(each.c.value))
    else:
        is_wanted = table.c.unit == sa.any_(sa.bindparam("keys", keys, type_=postgresql.ARRAY(sa.BigInteger)))
    columns = (column for column in table.c if column is not table.c.rollout)
    return sa.select(*columns).where(table.c.rollout == rollout, is_wanted)
