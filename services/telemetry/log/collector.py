"""Collector: access logs -> exposures -> tallies, each line exactly once, whatever is killed whenever.

Rows, sums and the offset after them are written in one transaction. What a killed collector had not committed is still
in the log; what it had committed is not read again. Two collectors at once cannot count a line twice either: the
offset is moved only from where the reader found it. A database that cannot be written (full disk, long lock) changes
nothing: lines stay in the log until it can.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sluicegate.registry.words.access_log import parse
from sluicegate.registry.words.errors import SluiceError
from sluicegate.services.telemetry.log.offsets import Offsets
from sluicegate.services.telemetry.log.tail import Chunk, Tail
from sluicegate.services.telemetry.outcomes.joining import Joiner
from sluicegate.services.telemetry.outcomes.unjudged import keep
from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.telemetry.store.quarantine import set_aside, shown
from sluicegate.services.telemetry.store.segments import COLUMNS, numbered, spans
from sluicegate.services.telemetry.store.store import Store, write_tallies
from sluicegate.services.telemetry.tally.exposure import Exposure, expose
from sluicegate.services.telemetry.tally.pulse import beats
from sluicegate.services.telemetry.tally.sheet import Requests, Sheet, by_side, is_compared, latency_rows, seen_rows
from sluicegate.services.telemetry.tally.spec import SpecSource
from sluicegate.services.telemetry.tally.specs import Specs
from sluicegate.services.telemetry.tally.unit_sheet import Side

BUCKET = 300
"""Seconds of a time bucket: inside it the base rate is taken to be constant."""
POLL = 0.1
"""Seconds between looks at a log that has nothing new."""
BACK_OFF = 1.0
"""Seconds to wait after the database or the ledger failed."""
QUIET = 60.0
"""Seconds without a write after which a rotated file is taken to be complete."""

_log = logging.getLogger(__name__)


class Collector:
    """Tails one access log into the store, and joins outcomes to what it read."""

    def __init__(
        self, store: Store, log_path: Path, specs: SpecSource, clock: Callable[[], datetime], *, bucket: int = BUCKET
    ) -> None:
        self._store = store
        self._log = str(log_path)
        self._log_offsets = Offsets(store, self._log)
        self._path = log_path
        self._specs = Specs(specs)
        self._clock = clock
        self._bucket = bucket
        self._joiner = Joiner(store, self._specs)
        self._is_level = False
        self._forget()

    def collect(self) -> int:
        """One bounded pass over every file of the log, then over outcomes; how many lines were read.

        Raises SluiceError, OSError or SQLAlchemyError when it could not; nothing is lost, the next pass begins where
        the last transaction ended.
        """
        now = int(self._clock().timestamp() * 1e6)
        try:
            lines, self._is_level = self._read(now)
            self._joiner.join(now, is_level=self._is_level)
        except BaseException:
            self._forget()
            raise
        return lines

    def run(self, stop: threading.Event) -> None:
        """Collect until told to stop; without a pause only while there is more to read than one pass takes."""
        while not stop.is_set():
            try:
                self.collect()
                pause = POLL if self._is_level else 0.0
            except (SluiceError, OSError, sa.exc.SQLAlchemyError):
                _log.exception("collecting failed; the log is read again from the last commit")
                pause = BACK_OFF
            stop.wait(pause)

    def finished(self) -> tuple[Path, ...]:
        """Rotated files whose every line is safe in the database, power loss included: they may be deleted.

        A file that was written to in the last minute is not among them: the data plane may hold it open still.
        """
        offsets = self._log_offsets.load()
        self._store.harden()
        return self._tail.finished(offsets, round((self._clock().timestamp() - QUIET) * 1e9))

    def _forget(self) -> None:
        self._tail = Tail(self._path)
        self._offsets: dict[str, int] | None = None

    def _read(self, now: int) -> tuple[int, bool]:
        """Lines read, and whether the log was read to its end."""
        if self._offsets is None:
            self._offsets = self._log_offsets.load()
        lines, is_level = 0, True
        for chunk in self._tail.chunks(self._offsets):
            self._take(chunk, now)
            self._offsets[chunk.head] = chunk.end
            lines += len(chunk.lines)
            is_level = is_level and chunk.is_last
        return lines, is_level

    def _take(self, chunk: Chunk, now: int) -> None:
        """Count one chunk in one transaction."""
        batch = _Batch(chunk, self._log, now, self._bucket)
        for rollout in {exposure.rollout for exposure in batch.exposures if exposure.rollout is not None}:
            self._specs.get(rollout, now)  # asks the ledger before this transaction keeps others waiting
        with self._store.write() as connection:
            self._log_offsets.move(connection, chunk, now)
            before = self._store.take_ids(connection, len(batch.exposures))
            self._store.insert(connection, schema.exposures, COLUMNS, numbered(batch.exposures, before))
            segments = spans(batch.exposures, before)
            self._store.add(connection, schema.segments, segments, {"first_at": "min", "last_at": "max"})
            self._tally(connection, batch.exposures, before, now)
            self._joiner.wake(connection, before)
            set_aside(connection, batch.unreadable)
            self._store.count(connection, batch.counts)

    def _tally(self, connection: Connection, exposures: list[Exposure], before: int, now: int) -> None:
        sides = by_side(exposures)
        sheet, unknown = self._fill(sides, now)
        write_tallies(self._store, connection, sheet)
        self._store.add(connection, schema.seen, seen_rows(sides))
        self._store.add(connection, schema.latencies, latency_rows(sides))
        self._store.add(connection, schema.pulse, beats(exposures))
        for rollout in sorted(unknown):
            keep(connection, rollout, before)

    def _fill(self, sides: dict[Side, Requests], now: int) -> tuple[Sheet, set[str]]:
        """The tallies of what is known, and the rollouts whose metrics are not."""
        sheet, unknown = Sheet(), set()
        for side, requests in sides.items():
            if not is_compared(side):
                continue
            spec = self._specs.get(side[0], now)
            if spec is None:
                unknown.add(side[0])
            else:
                sheet.take_requests(side, requests, spec.measures)
        return sheet, unknown


class _Batch:
    """What the lines of a chunk say."""

    def __init__(self, chunk: Chunk, log: str, now: int, bucket: int) -> None:
        self.exposures: list[Exposure] = []
        self.unreadable: list[dict[str, Any]] = []
        self.counts: Counter[Count] = Counter({Count.LINES: len(chunk.lines)})
        for text in chunk.lines:
            try:
                line = parse(text)
                exposure = _storable(expose(line, bucket), text)
            except (ValueError, RecursionError) as error:
                self.unreadable.append({"log": log, "read_at": now, "reason": shown(str(error)), "line": shown(text)})
                continue
            if exposure is not None:
                self.exposures.append(exposure)
            else:
                self.counts[Count.SHADOWS if line.is_shadow else Count.UNASSIGNED] += 1
        self.counts[Count.QUARANTINED] = len(self.unreadable)
        self.counts[Count.EXPOSURES] = len(self.exposures)
        self.counts[Count.ABANDONED] = sum(exposure.failed is None for exposure in self.exposures)


def _storable(exposure: Exposure | None, text: bytes) -> Exposure | None:
    """The exposure; raises ValueError where its line holds escapes that stand for what no database keeps."""
    if exposure is not None and b"\\u" in text:
        exposure.require_storable()
    return exposure
