"""Unit store: what is known of units, read and written in the transaction that tallies their rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.tally.unit_accumulator import (
    Entry,
    Epochs,
    Step,
    Sums,
    UnitAccumulator,
    added,
    enter,
)

_AT_ONCE = 5_000
"""Units in one query."""
_REMEMBERED = 4_096


def changes(connection: Connection, gathered: UnitAccumulator) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Rows of units as they will be, in order of their keys, and rows to add to the unit sums."""
    rows: list[tuple[Any, ...]] = []
    steps: Counter[Step] = Counter(gathered.loose)
    known = _known(connection, gathered.entries)
    for key, new in sorted(gathered.entries.items()):
        rollout, unit = key
        for epoch, entry in enter(known.get(key, {}), new, rollout, steps).items():
            rows.append((rollout, unit, epoch, entry.arm, entry.weight, entry.bucket, _written(entry.sums)))
    return rows, [(*place, *sums) for place, sums in added(steps).items()]


def _known(connection: Connection, units: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Epochs]:
    wanted: dict[str, list[int]] = defaultdict(list)
    for rollout, unit in units:
        wanted[rollout].append(unit)
    epochs: dict[tuple[str, int], Epochs] = defaultdict(dict)
    for rollout, keys in wanted.items():
        for start in range(0, len(keys), _AT_ONCE):
            query = _of_units(connection, rollout, keys[start : start + _AT_ONCE])
            for unit, epoch, arm, weight, bucket, sums in connection.execute(query).tuples():
                epochs[rollout, unit][epoch] = Entry(arm, weight, bucket, _read(sums))
    return epochs


def _of_units(connection: Connection, rollout: str, keys: list[int]) -> sa.Select[Any]:
    """The rows of units; all keys are one parameter, so that the statement is the same for any number of them."""
    table = schema.units
    if connection.dialect.name == "sqlite":
        each = sa.func.json_each(sa.bindparam("keys", orjson.dumps(keys).decode())).table_valued("value")
        is_wanted: sa.ColumnElement[bool] = table.c.unit.in_(sa.select(each.c.value))
    else:
        is_wanted = table.c.unit == sa.any_(sa.bindparam("keys", keys, type_=postgresql.ARRAY(sa.BigInteger)))
    columns = (column for column in table.c if column is not table.c.rollout)
    return sa.select(*columns).where(table.c.rollout == rollout, is_wanted)


@lru_cache(maxsize=_REMEMBERED)
def _written(sums: Sums) -> str:
    return orjson.dumps({metric: (x, n) for metric, x, n in sums}).decode()


@lru_cache(maxsize=_REMEMBERED)
def _read(text: str) -> Sums:
    return tuple((metric, x, n) for metric, (x, n) in orjson.loads(text).items())
