"""A real collector process, killed -9 again and again while the log grows and is rotated: each row counts once."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.collector_lines import traffic
from registry.plan import MetricSpec, Source
from services.telemetry import tail
from services.telemetry.collector import Collector
from services.telemetry.counts import Count
from services.telemetry.outcomes import OutcomeIn, record
from services.telemetry.queries import Queries
from services.telemetry.spec import RolloutSpec
from services.telemetry.store import Store

ROWS = 24_000
KILLS = 6
ROTATIONS = 6
LABELLED = 10
"""Every tenth request gets an outcome."""
SPEC = RolloutSpec(
    rollout="r1",
    metrics={"errors": MetricSpec(source=Source.STATUS), "label": MetricSpec(source=Source.OUTCOME, outcome="label")},
)


def collect_until_killed(url: str, log: str) -> None:
    """The process under test, with chunks so small that most kills hit a transaction."""
    tail.CHUNK = 32 * 1024
    store = Store(url, durable=False)
    collector = Collector(store, Path(log), lambda _: SPEC, lambda: datetime.now(UTC))
    print("ready", flush=True)
    collector.run(threading.Event())


@contextmanager
def collecting(url: str, log: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.integration.test_collector_kill", url, str(log)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()


class Load:
    """Writes requests, rotates the log and sends outcomes, and keeps its own record of all of it."""

    def __init__(self, log: Path, store: Store) -> None:
        self.log = log
        self.store = store
        self.requests: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.labels: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run)

    @contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._thread.join()

    def _run(self) -> None:
        file = self.log.open("a")
        sent: list[OutcomeIn] = []
        for number, row in enumerate(traffic(ROWS, seed=7)):
            arm = "candidate" if row["upstream"] == "2" else "stable"
            self.requests[arm] += 1
            self.failures[arm] += row["status"] == 500
            text = json.dumps(row) + "\n"
            cut = number % len(text)
            file.write(text[:cut])
            if number % 97 == 0:
                file.flush()  # a line that is not whole yet
            file.write(text[cut:])
            if number % LABELLED == 0:
                self.labels[arm] += 1
                sent.append(OutcomeIn(prediction_id=str(row["rid"]), name="label", value=2))
            if number % 200 == 0:
                record(self.store, sent + sent[:3], datetime.now(UTC))  # before their lines are flushed, some twice
                sent.clear()
                time.sleep(0.01)
            if number % (ROWS // ROTATIONS) == ROWS // ROTATIONS - 1:
                file = self._rotate(file, number)
        record(self.store, sent, datetime.now(UTC))
        file.close()

    def _rotate(self, file: object, number: int) -> object:
        """Rename and open anew, as the data plane does; what is left of the buffer goes to the renamed file."""
        self.log.rename(self.log.with_name(f"{self.log.stem}.{number:06d}{self.log.suffix}"))
        fresh = self.log.open("a")
        file.close()  # type: ignore[attr-defined]
        return fresh


def wait_for(queries: Queries, *, lines: int, labels: int = 0) -> None:
    """Until so many were counted; a test that waits in vain fails by its timeout."""
    while True:
        counters = queries.counters()
        if counters[Count.LINES] >= lines and counters[Count.SCORED] >= labels:
            return
        time.sleep(0.002)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_at_any_moment_each_row_and_each_outcome_counts_once(tmp_path: Path) -> None:
    url, log = f"sqlite:///{tmp_path}/telemetry.db", tmp_path / "live.jsonl"
    store = Store(url)
    queries = Queries(store, lambda: datetime.now(UTC))
    moments = random.Random(11)
    load = Load(log, store)
    with load.running():
        for kill in range(1, KILLS + 1):
            with collecting(url, log):
                wait_for(queries, lines=kill * ROWS // (KILLS + 2))
                time.sleep(moments.uniform(0.0, 0.05))
            assert queries.counters()[Count.LINES] < ROWS, "the kill came too late to matter"
    with collecting(url, log):
        wait_for(queries, lines=ROWS, labels=load.labels.total())
        time.sleep(0.5)
    counters = queries.counters()
    assert (counters[Count.LINES], counters[Count.EXPOSURES], counters[Count.QUARANTINED]) == (ROWS, ROWS, 0)
    assert counters[Count.OUTCOMES] == counters[Count.JOINED] == counters[Count.SCORED] == load.labels.total()
    sums: Counter[tuple[str, str]] = Counter()
    totals: Counter[tuple[str, str]] = Counter()
    for row in queries.tallies("r1")[1]:
        sums[row.metric, row.arm.value] += row.tally.n
        totals[row.metric, row.arm.value] += int(row.tally.total)
    for arm in ("stable", "candidate"):
        assert (sums["errors", arm], totals["errors", arm]) == (load.requests[arm], load.failures[arm])
        assert (sums["label", arm], totals["label", arm]) == (load.labels[arm], 2 * load.labels[arm])
    seen = queries.seen("r1")
    assert (seen.stable.requests, seen.candidate.requests) == (load.requests["stable"], load.requests["candidate"])
    store.close()


if __name__ == "__main__":
    collect_until_killed(*sys.argv[1:])
