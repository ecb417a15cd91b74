"""Bodies: reads captured requests and answers into the store.

The name of a file that a service has open ends in `.open`. If the service was killed, the file keeps that name, and
counts as abandoned after a day.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import orjson
from sqlalchemy.engine import Connection

from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.telemetry.tailing.log_collector import QUIET, LogCollector, one_by_one
from sluicegate.services.telemetry.tally.lines import Unreadable

LEFT_BEHIND = 86_400.0
"""Seconds without a write after which a file that its service did not close may be deleted."""
_OPEN = ".open"
Line = tuple[tuple[Any, ...], int]
"""A row of the table, and the number of bodies that were left out before it."""


class BodyCollector(LogCollector[list[Line]]):
    """Tails the files of bodies into the store."""

    poll = 1.0
    back_off = 5.0
    hidden_as = "(a body)"

    def collect(self) -> int:
        lines, _ = self._read(self._now())
        self._has_more = lines > 0
        return lines

    def finished(self, quiet: float = QUIET) -> tuple[Path, ...]:
        """Files that are completely in the database, and that are no longer written to."""
        left = set(super().finished(LEFT_BEHIND))
        return tuple(path for path in super().finished(quiet) if path in left or path.suffix != _OPEN)

    def _read_lines(self, lines: Sequence[bytes]) -> tuple[list[Line], list[Unreadable]]:
        return one_by_one(self._read_line, lines)

    def _read_line(self, text: bytes) -> Line:
        try:
            return _row(orjson.loads(text))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error

    def _write(self, connection: Connection, rows: list[Line], counts: Counter[Count]) -> None:
        counts[Count.BODIES] = self._store.insert(connection, schema.bodies, [row for row, _ in rows])
        counts[Count.BODIES_LEFT_OUT] = sum(left_out for _, left_out in rows)


def _row(line: dict[str, Any]) -> Line:
    model, _, build = str(line["build"]).partition("/")
    bodies = tuple(json.dumps(line[name]) if name in line else None for name in ("features", "predictions"))
    headers = json.dumps(line["headers"]) if "headers" in line else None
    row = (str(line["rid"]), unquote(model), unquote(build), int(line["at"]), *bodies, headers)
    return row, int(line.get("left_out", 0))
