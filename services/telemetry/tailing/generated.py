"""GeneratedCollector: adds generated requests to the tallies of metrics that need no label, and to nothing else.

It writes no exposure, so that no outcome, body, sample ratio or drift depends on generated requests. If requests are
counted by unit, each generated one is a unit of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from sqlalchemy.engine import Connection

from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.telemetry.store.store import Store, write_tallies
from sluicegate.services.telemetry.tailing.log_collector import BUCKET, LogCollector
from sluicegate.services.telemetry.tally.lines import Lines, Unreadable, read_lines
from sluicegate.services.telemetry.tally.spec import SpecSource
from sluicegate.services.telemetry.tally.spec_cache import SpecCache
from sluicegate.services.telemetry.tally.tally_accumulator import Requests, TallyAccumulator, by_side, is_judged
from sluicegate.services.telemetry.tally.unit_accumulator import Side


class GeneratedCollector(LogCollector[Lines]):
    """Tails the log of the listener that only the generator can reach."""

    def __init__(
        self, store: Store, log_path: Path, specs: SpecSource, clock: Callable[[], datetime], *,
        bucket: int = BUCKET, reopen: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(store, log_path, clock, reopen=reopen)
        self._specs = SpecCache(specs)
        self._bucket = bucket

    def collect(self) -> int:
        lines, is_level = self._read(self._now())
        self._has_more = not is_level
        return lines

    def _read_lines(self, lines: Sequence[bytes]) -> tuple[Lines, list[Unreadable]]:
        read, unreadable = read_lines(lines, self._bucket)
        nobody = [None] * len(read.batch)
        return replace(read, batch=replace(read.batch, units=nobody, slices=None)), unreadable

    def _prepare(self, rows: Lines, now: int) -> None:
        """Find the rollouts whose plan generates requests. For others, such as another variation's, none are
        counted."""
        rollouts = {kind.rollout for kind in rows.batch.kinds if kind.rollout is not None}
        specs = {rollout: self._specs.get(rollout, now) for rollout in rollouts}
        self._asking = {name: spec.of_generated for name, spec in specs.items() if spec is not None and spec.generates}

    def _write(self, connection: Connection, rows: Lines, counts: Counter[Count]) -> None:
        counts[Count.LINES] = len(rows) + counts[Count.QUARANTINED]
        counts[Count.GENERATED] = len(rows)
        sides = by_side(rows.batch).items()
        judged = {side: requests for side, requests in sides if side[0] in self._asking and is_judged(side)}
        tallies = TallyAccumulator()
        for side, requests in judged.items():
            tallies.take_requests(side, requests, self._asking[side[0]])
        write_tallies(self._store, connection, tallies)
        self._store.add(connection, schema.generated, _by_arm(judged))


def _by_arm(sides: dict[Side, Requests]) -> list[tuple[str, str, int]]:
    arms = Counter[tuple[str, str]]()
    for (rollout, _, _, arm, _), requests in sides.items():
        arms[rollout, arm] += len(requests)
    return [(*key, n) for key, n in arms.items()]
