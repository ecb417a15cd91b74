"""Unit store: what is known of units, read and written in the transaction that tallies their rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from registry.metric import UnitSums
from services.telemetry import schema
from services.telemetry.unit_sheet import Entry, Epochs, Place, Powers, UnitSheet, enter

_NAMES = tuple(each.name for each in fields(UnitSums))
_KEYS = ("rollout", "metric", "epoch", "bucket", "arm", "weight")
_AT_ONCE = 500
"""Units in one query."""


def changes(connection: Connection, sheet: UnitSheet) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of units as they will be, and rows to add to the unit sums, both in order of their keys."""
    rows: list[dict[str, Any]] = []
    sums: dict[Place, Powers] = dict(sheet.loose)
    known = _known(connection, sheet.entries)
    for (rollout, unit), new in sorted(sheet.entries.items()):
        changed = enter(known.get((rollout, unit), {}), new, rollout, sums)
        rows += (_row(rollout, unit, epoch, entry) for epoch, entry in changed.items())
    return rows, [dict(zip(_KEYS, place, strict=True)) | _sums(found) for place, found in sorted(sums.items())]


def _known(connection: Connection, units: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Epochs]:
    wanted: dict[str, list[int]] = defaultdict(list)
    for rollout, unit in units:
        wanted[rollout].append(unit)
    table = schema.units
    found: dict[tuple[str, int], Epochs] = defaultdict(dict)
    for rollout, keys in wanted.items():
        for start in range(0, len(keys), _AT_ONCE):
            query = sa.select(table).where(table.c.rollout == rollout, table.c.unit.in_(keys[start : start + _AT_ONCE]))
            for _, unit, epoch, arm, weight, bucket, sums in connection.execute(query):
                entry = Entry(arm=arm, weight=weight, bucket=bucket, sums=_read(sums))
                found[rollout, unit][epoch] = entry
    return found


def _row(rollout: str, unit: int, epoch: int, entry: Entry) -> dict[str, Any]:
    return {
        "rollout": rollout, "unit": unit, "epoch": epoch, "arm": entry.arm, "weight": entry.weight,
        "bucket": entry.bucket, "sums": orjson.dumps(entry.sums).decode(),
    }  # fmt: skip


def _read(text: str) -> dict[str, tuple[float, int]]:
    return {metric: (x, n) for metric, (x, n) in orjson.loads(text).items()}


def _sums(found: Powers) -> dict[str, float]:
    return dict(zip(_NAMES, found, strict=True))
