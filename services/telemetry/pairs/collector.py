"""ShadowCollector: reads copies from the shadow log and pairs them, each line and each pair exactly once.

Copies and the offset after them are written in one transaction, like the requests of the live log.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Connection

from sluicegate.registry.words.access_log import parse
from sluicegate.services.telemetry.pairs.labels import Labels
from sluicegate.services.telemetry.pairs.pair import Copy, read_copy
from sluicegate.services.telemetry.pairs.pairing import Pairer
from sluicegate.services.telemetry.pairs.retention import drop_pairs
from sluicegate.services.telemetry.pairs.spec import ShadowSource, ShadowSpec
from sluicegate.services.telemetry.pairs.sums import PairSums, rows_of
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.telemetry.store.pair_schema import copies, pair_sums
from sluicegate.services.telemetry.store.store import Store
from sluicegate.services.telemetry.store.waiting_copies import NEW
from sluicegate.services.telemetry.tailing.levels import Levels
from sluicegate.services.telemetry.tailing.log_collector import BUCKET, SWEEP, LogCollector, one_by_one
from sluicegate.services.telemetry.tally.lines import Unreadable
from sluicegate.services.telemetry.tally.spec_cache import SpecCache


class ShadowCollector(LogCollector[list[Copy | None]]):
    """Tails the log of mirrored copies into the store, and pairs the copies with their requests."""

    def __init__(
        self, store: Store, log_path: Path, specs: ShadowSource, clock: Callable[[], datetime], *,
        bucket: int = BUCKET, reopen: Callable[[], None] | None = None, levels: Levels | None = None,
    ) -> None:  # fmt: skip
        """`levels`: up to when the logs of requests have been read, since copies wait for those."""
        super().__init__(store, log_path, clock, reopen=reopen)
        self._bucket = bucket
        self._specs: SpecCache[ShadowSpec] = SpecCache(specs)
        self._pairer = Pairer(store, self._specs)
        self._labels = Labels(store, self._specs)
        self._swept_at = 0
        self._levels = levels

    def collect(self) -> int:
        """Make one bounded pass: read, pair, score late labels. Returns how many lines and copies were handled.

        Raises SluiceError, OSError or SQLAlchemyError if it fails; then nothing is lost.
        """
        now = self._now()
        lines, _ = self._read(now)
        done = lines + self._pairer.pair(now)
        if not 0 <= now - self._swept_at < SWEEP:  # also if the clock has been set back
            self._swept_at = now
            done += self._labels.score(now)
            self._pairer.give_up(now if self._levels is None else min(now, self._levels.lowest()))
            drop_pairs(self._store, lambda rollout: self._specs.get(rollout, now), now)
        self._has_more = done > 0
        return done

    def _read_lines(self, lines: Sequence[bytes]) -> tuple[list[Copy | None], list[Unreadable]]:
        return one_by_one(self._read_line, lines)

    def _read_line(self, text: bytes) -> Copy | None:
        line = parse(text)
        return None if line.is_generated else read_copy(line, self._bucket)

    def _write(self, connection: Connection, rows: list[Copy | None], counts: Counter[Count]) -> None:
        """Store copies. A second copy of the same request for the same shadow is only counted."""
        read = [copy for copy in rows if copy is not None]
        counts[Count.LINES] = len(rows) + counts[Count.QUARANTINED]
        counts[Count.SHADOWS] = len(read)
        counts[Count.UNASSIGNED] = len(rows) - len(read)
        sums: dict[str, PairSums] = {}
        for copy in read:
            if self._store.insert(connection, copies, [_row(copy)]):
                sums.setdefault(copy.exposure.rollout or "", PairSums()).count("copies", copy.ended.value)
            else:
                counts[Count.REPEATED] += 1
        for rollout, summed in sums.items():
            self._store.add(connection, pair_sums, rows_of(rollout, summed.tallies()))


def _row(copy: Copy) -> tuple[Any, ...]:
    exposure = copy.exposure
    segments = json.dumps(copy.segments)
    return (exposure.rid, exposure.rollout, NEW, copy.ended.value, segments, json.dumps(list(exposure)), exposure.at)
