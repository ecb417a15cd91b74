"""Bodies: what services wrote down of requests and answers comes into the store, each line exactly once.

The offsets are kept as those of the access log are. A file that a service has open ends in `.open`; where the service
was killed it keeps that name, and is taken to be left behind after a day.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import orjson
import sqlalchemy as sa

from sluicegate.registry.words.errors import SluiceError
from sluicegate.services.telemetry.log.offsets import Offsets
from sluicegate.services.telemetry.log.tail import Chunk, Tail
from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.telemetry.store.quarantine import set_aside, shown
from sluicegate.services.telemetry.store.store import Store

POLL = 1.0
BACK_OFF = 5.0
QUIET = 60.0
"""Seconds without a write after which a file that was ended may be deleted."""
LEFT_BEHIND = 86_400.0
"""The same for a file whose service did not end it."""
_OPEN = ".open"
_log = logging.getLogger(__name__)
_COLUMNS = ("rid", "model", "build", "at", "features", "predictions")


class BodyCollector:
    """Tails the files of bodies into the store."""

    def __init__(self, store: Store, log_path: Path, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._path = log_path
        self._clock = clock
        self._offsets = Offsets(store, str(log_path))
        self._tail = Tail(log_path)

    def collect(self) -> int:
        """One bounded pass over every file; how many lines were read. Raises OSError or SQLAlchemyError."""
        offsets, lines = self._offsets.load(), 0
        for chunk in self._tail.chunks(offsets):
            self._take(chunk)
            lines += len(chunk.lines)
        return lines

    def run(self, stop: threading.Event) -> None:
        """Collect until told to stop."""
        while not stop.is_set():
            try:
                pause = 0.0 if self.collect() else POLL
            except (SluiceError, OSError, sa.exc.SQLAlchemyError):
                _log.exception("collecting bodies failed; they are read again from the last commit")
                pause = BACK_OFF
            stop.wait(pause)

    def finished(self) -> tuple[Path, ...]:
        """Files whose every line is safe in the database, and that nobody writes any more."""
        offsets = self._offsets.load()
        self._store.harden()
        now = self._clock().timestamp()
        left = set(self._tail.finished(offsets, round((now - LEFT_BEHIND) * 1e9)))
        quiet = self._tail.finished(offsets, round((now - QUIET) * 1e9))
        return tuple(path for path in quiet if path in left or path.suffix != _OPEN)

    def _take(self, chunk: Chunk) -> None:
        now = int(self._clock().timestamp() * 1e6)
        rows: list[tuple[Any, ...]] = []
        unreadable: list[dict[str, Any]] = []
        left_out = 0
        for text in chunk.lines:
            try:
                row, missed = _read(text)
            except (ValueError, KeyError, TypeError) as error:
                reason = shown(f"{type(error).__name__}: {error}")
                unreadable.append({"log": str(self._path), "read_at": now, "reason": reason, "line": "(a body)"})
                continue
            rows.append(row)
            left_out += missed
        with self._store.write() as connection:
            self._offsets.move(connection, chunk, now)
            written = self._store.insert(connection, schema.bodies, _COLUMNS, rows)
            set_aside(connection, unreadable)
            counts = {Count.BODIES: written, Count.BODIES_LEFT_OUT: left_out, Count.QUARANTINED: len(unreadable)}
            self._store.count(connection, counts)


def _read(text: bytes) -> tuple[tuple[Any, ...], int]:
    """A row of the table, and how many bodies were left out before it. Raises ValueError, KeyError or TypeError."""
    line = orjson.loads(text)
    model, _, build = str(line["build"]).partition("/")
    bodies = tuple(json.dumps(line[name]) if name in line else None for name in ("features", "predictions"))
    return (str(line["rid"]), unquote(model), unquote(build), int(line["at"]), *bodies), int(line.get("left_out", 0))
