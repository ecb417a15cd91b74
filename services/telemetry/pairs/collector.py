"""ShadowCollector: the shadow log -> copies -> pairs, each line and each pair exactly once, whatever is killed when.

Copies and the offset after them are written in one transaction, as the live log's requests are.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from sluicegate.registry.words.access_log import parse
from sluicegate.registry.words.errors import SluiceError
from sluicegate.services.telemetry.log.collector import BACK_OFF, BUCKET, POLL, QUIET
from sluicegate.services.telemetry.log.offsets import Offsets
from sluicegate.services.telemetry.log.tail import Chunk, Tail
from sluicegate.services.telemetry.pairs.labels import Labels
from sluicegate.services.telemetry.pairs.pair import Copy, read_copy
from sluicegate.services.telemetry.pairs.pairing import NEW, Pairer
from sluicegate.services.telemetry.pairs.retention import drop_pairs
from sluicegate.services.telemetry.pairs.spec import ShadowSource, ShadowSpec
from sluicegate.services.telemetry.pairs.sums import PairSums, rows_of
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.telemetry.store.pair_schema import copies, pair_sums
from sluicegate.services.telemetry.store.quarantine import set_aside, shown
from sluicegate.services.telemetry.store.store import Store
from sluicegate.services.telemetry.tally.specs import Specs

_SWEEP = 1_000_000
"""Microseconds between looks at what rarely changes."""
_COLUMNS = ("rid", "rollout", "state", "ended", "segments", "exposure", "at")

_log = logging.getLogger(__name__)


class ShadowCollector:
    """Tails the log of mirrored copies into the store, and pairs them with the requests they copy."""

    def __init__(
        self, store: Store, log_path: Path, specs: ShadowSource, clock: Callable[[], datetime], *, bucket: int = BUCKET
    ) -> None:
        self._store = store
        self._path = log_path
        self._log = str(log_path)
        self._log_offsets = Offsets(store, self._log)
        self._clock = clock
        self._bucket = bucket
        self._specs: Specs[ShadowSpec] = Specs(specs)
        self._pairer = Pairer(store, self._specs)
        self._labels = Labels(store, self._specs)
        self._swept_at = 0
        self._forget()

    def collect(self) -> int:
        """One bounded pass: read, pair, score late labels; how many lines and copies were looked at.

        Raises SluiceError, OSError or SQLAlchemyError when it could not; nothing is lost.
        """
        now = int(self._clock().timestamp() * 1e6)
        try:
            done = self._read(now) + self._pairer.pair(now)
        except BaseException:
            self._forget()
            raise
        if now - self._swept_at >= _SWEEP:
            self._swept_at = now
            done += self._labels.score(now)
            self._pairer.give_up(now)
            drop_pairs(self._store, lambda rollout: self._specs.get(rollout, now), now)
        return done

    def run(self, stop: threading.Event) -> None:
        """Collect until told to stop; without a pause only while there is more to do than one pass takes."""
        while not stop.is_set():
            try:
                pause = POLL if self.collect() == 0 else 0.0
            except (SluiceError, OSError, sa.exc.SQLAlchemyError):
                _log.exception("collecting copies failed; their log is read again from the last commit")
                pause = BACK_OFF
            stop.wait(pause)

    def finished(self) -> tuple[Path, ...]:
        """Rotated files whose every line is safe in the database: they may be deleted."""
        offsets = self._log_offsets.load()
        self._store.harden()
        return self._tail.finished(offsets, round((self._clock().timestamp() - QUIET) * 1e9))

    def _forget(self) -> None:
        self._tail = Tail(self._path)
        self._offsets: dict[str, int] | None = None

    def _read(self, now: int) -> int:
        if self._offsets is None:
            self._offsets = self._log_offsets.load()
        lines = 0
        for chunk in self._tail.chunks(self._offsets):
            self._take(chunk, now)
            self._offsets[chunk.head] = chunk.end
            lines += len(chunk.lines)
        return lines

    def _take(self, chunk: Chunk, now: int) -> None:
        """Keep one chunk's copies in one transaction."""
        found: list[Copy] = []
        unreadable: list[dict[str, Any]] = []
        counts = Counter({Count.LINES: len(chunk.lines)})
        for text in chunk.lines:
            try:
                copy = read_copy(parse(text), self._bucket)
            except (ValueError, RecursionError) as error:
                unreadable.append({"log": self._log, "read_at": now, "reason": shown(str(error)), "line": shown(text)})
                continue
            if copy is not None:
                found.append(copy)
        counts[Count.QUARANTINED] = len(unreadable)
        counts[Count.SHADOWS] = len(found)
        counts[Count.UNASSIGNED] = len(chunk.lines) - len(found) - len(unreadable)
        with self._store.write() as connection:
            self._log_offsets.move(connection, chunk, now)
            self._insert(connection, found, counts)
            set_aside(connection, unreadable)
            self._store.count(connection, counts)

    def _insert(self, connection: sa.Connection, found: list[Copy], counts: Counter[Count]) -> None:
        """Keep copies; a second one of the same request for the same shadow is counted and not kept."""
        sums: dict[str, PairSums] = {}
        for copy in found:
            if self._store.insert(connection, copies, _COLUMNS, [_row(copy)]):
                rollout = copy.exposure.rollout or ""
                sums.setdefault(rollout, PairSums()).count("copies", copy.ended.value)
            else:
                counts[Count.REPEATED] += 1
        for rollout, summed in sums.items():
            self._store.add(connection, pair_sums, rows_of(rollout, summed.tallies()))


def _row(copy: Copy) -> tuple[Any, ...]:
    exposure = copy.exposure
    segments = json.dumps(copy.segments)
    return (exposure.rid, exposure.rollout, NEW, copy.ended.value, segments, json.dumps(list(exposure)), exposure.at)
