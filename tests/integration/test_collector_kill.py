"""A real collector process, killed -9 again and again while the log grows and is rotated: each row counts once."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sluicegate.registry.words.metric import REQUESTS, Arm
from sluicegate.registry.words.tally import Tally, UnitSums
from sluicegate.services.telemetry.reading.queries import Queries
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.telemetry.store.store import Store
from sluicegate.services.telemetry.tailing import tail
from sluicegate.services.telemetry.tailing.collector import Collector
from sluicegate.services.telemetry.tailing.readers import SharedLevels
from tests.integration.collector_load import ROWS, SPEC, Load, Written

KILLS = 6


def collect_until_killed(url: str, log: str, host: str = "") -> None:
    """The process under test, with chunks so small that most kills hit a transaction; `host`: one of several."""
    tail.CHUNK = 32 * 1024
    store = Store(url, durable=False, host=host)
    levels = SharedLevels(store, host, [log]) if host else None
    collector = Collector(store, Path(log), lambda _: SPEC, lambda: datetime.now(UTC), levels=levels)
    print("ready", flush=True)
    collector.run(threading.Event())


@contextmanager
def collecting(url: str, log: Path, *host: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.integration.test_collector_kill", url, str(log), *host]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(queries: Queries, *, lines: int, labels: int = 0) -> None:
    """Until so many were counted. Who waits in vain for a minute is told how far it came."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        counters = queries.counters()
        if counters[Count.LINES] >= lines and counters[Count.SCORED] >= labels:
            return
        time.sleep(0.005)
    raise AssertionError(f"{lines} lines and {labels} scored labels are waited for, and there are {counters}")


@pytest.mark.slow
@pytest.mark.chaos
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
                wait_for(queries, lines=kill * ROWS // (2 * KILLS))
                time.sleep(moments.uniform(0.0, 0.05))
            assert queries.counters()[Count.LINES] < ROWS, "the kill came too late to matter"
    with collecting(url, log):
        wait_for(queries, lines=ROWS, labels=load.written.labels)
        time.sleep(0.5)  # for what would be counted twice
    counters = queries.counters()
    assert (counters[Count.LINES], counters[Count.EXPOSURES], counters[Count.QUARANTINED]) == (ROWS, ROWS, 0)
    assert counters[Count.OUTCOMES] == counters[Count.JOINED] == counters[Count.SCORED] == load.written.labels
    check_sums(queries, load.written)
    assert {arm: found.counts for arm, found in queries.latencies(["r1"])["r1"].items()} == load.written.durations
    seen = queries.requests_by_arm("r1")
    assert {Arm.STABLE: seen.stable.requests, Arm.CANDIDATE: seen.candidate.requests} == {
        arm: durations.total() for arm, durations in load.written.durations.items()
    }
    store.close()


def check_sums(queries: Queries, written: Written) -> None:
    """Every metric in each arm, all strata together: which of them a unit belongs to is decided by what is met first.

    Exact but for the sums of fractions, which depend on the order in their last digits.
    """
    tallies: dict[tuple[str, Arm], Tally] = defaultdict(Tally)
    units: dict[tuple[str, Arm], UnitSums] = defaultdict(UnitSums)
    for row in queries.tallies("r1")[1]:
        tallies[row.metric, row.arm] += row.tally
        units[row.metric, row.arm] += row.units or UnitSums()
    for arm, durations in written.durations.items():
        assert tallies.pop((REQUESTS, arm)).n == durations.total()
        assert units.pop((REQUESTS, arm)) == UnitSums(), "requests have no values"
    assert tallies.keys() == units.keys() == written.sums.keys()
    for key, (n, total) in written.sums.items():
        assert (tallies[key].n, tallies[key].missing, tallies[key].total) == (n, 0, about(total)), key
        assert tuple(units[key]) == tuple(map(about, written.unit_sums[key])), key


def about(value: float) -> object:
    return int(value) if value == int(value) else pytest.approx(value, rel=1e-9)


if __name__ == "__main__":
    collect_until_killed(*sys.argv[1:])
