"""A collector whose clock and log are set by hand, for tests; and a way to break it off at any statement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.collector_lines import START, START_US, assigned
from sluicegate.registry.plan.fields import MetricSpec, PredictionField, Score, Source
from sluicegate.registry.words.metric import TallyRow
from sluicegate.services.telemetry.outcomes.intake import record
from sluicegate.services.telemetry.outcomes.outcome import OutcomeIn
from sluicegate.services.telemetry.reading.queries import Queries
from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.store.store import Store
from sluicegate.services.telemetry.tailing.collector import Collector
from sluicegate.services.telemetry.tally.spec import RolloutSpec

BUCKET = START_US // 1_000_000
CANDIDATE: dict[str, Any] = {"assigned": assigned("candidate"), "upstream": "2"}
ANY = (-9e15, 9e15)
"""A range that every number lies in: what has no bounds is not counted before a cap is frozen."""
SPEC = RolloutSpec(
    rollout="r1",
    metrics={
        "errors": MetricSpec(source=Source.STATUS),
        "p99": MetricSpec(source=Source.LATENCY, quantile=0.99),
        "mean": MetricSpec(source=Source.LATENCY),
        "brier": MetricSpec(
            source=Source.OUTCOME, outcome="late", score=Score.BRIER, prediction=PredictionField(column="probability")
        ),
        "slow": MetricSpec(source=Source.OUTCOME, outcome="late", matures_after="3h", range=ANY),
        "spend": MetricSpec(source=Source.OUTCOME, outcome="spend", range=ANY),
    },
    thresholds={"p99": 0.01},
    margins={"p99": (0.5,)},
)


class Rig:
    """A collector with a clock that is set by hand and a log that is written by hand."""

    def __init__(self, url: str, log: Path, specs: dict[str, RolloutSpec] | None = None) -> None:
        self.log = log
        self.now = START + timedelta(minutes=1)
        self.specs = {"r1": SPEC} if specs is None else specs
        self.store = Store(url, durable=False)
        self.queries = Queries(self.store, lambda: self.now)
        self.start()

    def start(self) -> None:
        """A new collector, as after a kill."""
        self.collector = Collector(self.store, self.log, self.specs.get, lambda: self.now)

    def write(self, *lines: str) -> None:
        with self.log.open("a") as file:
            file.writelines(lines)

    def collect(self) -> None:
        """Collect until nothing is left to read; 3 s pass, so that what is done once a second is done too."""
        for _ in range(3):
            self.now += timedelta(seconds=1)
            while self.collector.collect():
                pass

    def record(self, *batch: OutcomeIn) -> Any:
        return record(self.store, batch, self.now, is_request=lambda _: True)

    def tally(self, metric: str, arm: str = "stable") -> TallyRow | None:
        rows = [row for row in self.queries.tallies("r1")[1] if row.metric == metric and row.arm == arm]
        assert len(rows) <= 1
        return rows[0] if rows else None

    def sums(self, metric: str, arm: str = "stable") -> tuple[int, int, float]:
        row = self.tally(metric, arm)
        return (row.tally.n, row.tally.missing, row.tally.total) if row else (0, 0, 0.0)

    def counted(self, **counts: int) -> None:
        """Every counter but those of lines and exposures."""
        found = {name.value: n for name, n in self.queries.counters().items() if n}
        for plain in ("lines", "exposures"):
            found.pop(plain, None)
        assert found == counts

    def clear(self) -> None:
        with self.store.write() as connection:
            for table in schema.METADATA.sorted_tables:
                connection.execute(sa.delete(table).where(sa.true()))
        self.log.write_text("")
        self.now = START + timedelta(minutes=1)
        self.start()


class Killed(BaseException):
    """Stands for kill -9 at a statement."""


@contextmanager
def killed_at(engine: sa.Engine, statement: int) -> Iterator[list[int]]:
    """Break off at the n-th statement or commit; yields how many there were."""
    met = [0]

    def step(*_: object) -> None:
        met[0] += 1
        if met[0] == statement:
            raise Killed

    sa.event.listen(engine, "before_cursor_execute", step)
    sa.event.listen(engine, "commit", step)
    try:
        yield met
    finally:
        sa.event.remove(engine, "before_cursor_execute", step)
        sa.event.remove(engine, "commit", step)
