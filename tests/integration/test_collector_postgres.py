"""Collector processes and the PostgreSQL that they write to, killed and hung in turn: each row counts once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from benchmarks.collector_lines import assigned, line
from sluicegate.registry.words.errors import Unreachable
from sluicegate.services.telemetry.outcomes.intake import record
from sluicegate.services.telemetry.outcomes.outcome import OutcomeIn
from sluicegate.services.telemetry.reading.queries import Queries
from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.telemetry.store.store import Store
from tests.integration.collector_load import ROWS, Load
from tests.integration.test_collector_kill import check_sums, collecting
from tests.own_postgres import own_postgres
from tests.stopped import hung

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.postgres, pytest.mark.timeout(600)]
T = TypeVar("T")
ROUNDS = 6


@pytest.fixture
def server() -> Iterator[tuple[str, int]]:
    with own_postgres() as running:
        yield running


def eventually(ask: Callable[[], T], is_enough: Callable[[T], bool] = lambda _: True, seconds: float = 120) -> T:
    """What is told once the server can be asked and it is enough."""
    end = time.monotonic() + seconds
    while True:
        try:
            found = ask()
        except Unreachable:
            assert time.monotonic() < end, "the server does not come back"
        else:
            if is_enough(found):
                return found
            assert time.monotonic() < end, found
        time.sleep(0.05)


def kill_server(postmaster: int) -> None:
    """Kill what writes just now: all others are then ended at once, and it recovers from its log as after a crash."""
    children = psutil.Process(postmaster).children()
    busy = [each for each in children if any(word in " ".join(each.cmdline()) for word in ("COPY", "INSERT", "COMMIT"))]
    (busy or children)[-1].kill()


class PatientLoad(Load):
    """Sends outcomes again until they are taken in."""

    def _send(self, outcomes: list[OutcomeIn]) -> None:
        eventually(lambda: Load._send(self, outcomes))


def test_collector_and_server_killed_and_hung_at_any_moment(server: tuple[str, int], tmp_path: Path) -> None:
    url, postmaster = server
    log, store, moments = tmp_path / "live.jsonl", Store(url), random.Random(5)
    queries = Queries(store, lambda: datetime.now(UTC))
    load = PatientLoad(log, store)

    def lines() -> int:
        return queries.counters()[Count.LINES]

    with load.running():
        for turn in range(1, ROUNDS + 1):
            with collecting(url, log, "a"):
                eventually(lines, lambda n, turn=turn: n >= turn * ROWS // (3 * ROUNDS))  # type: ignore[misc]
                time.sleep(moments.uniform(0.0, 0.05))
                if turn % 3 == 1:
                    kill_server(postmaster)
                elif turn % 3 == 2:
                    with hung(postmaster):
                        time.sleep(2)
            assert eventually(lines) < ROWS, "it came too late to matter"
    with collecting(url, log, "a"):
        eventually(queries.counters, lambda found: found[Count.LINES] >= ROWS
                   and found[Count.SCORED] >= load.written.labels)  # fmt: skip
        time.sleep(0.5)  # for what would be counted twice
    counters = queries.counters()
    assert (counters[Count.LINES], counters[Count.EXPOSURES], counters[Count.QUARANTINED]) == (ROWS, ROWS, 0)
    assert counters[Count.OUTCOMES] == counters[Count.JOINED] == counters[Count.SCORED] == load.written.labels
    check_sums(queries, load.written)
    with store.read() as connection:
        assert connection.exec_driver_sql(f"SELECT count(*) FROM {schema.exposures}").scalar() == ROWS
    store.close()


def test_two_collectors_of_which_one_lags_join_nothing_wrong(server: tuple[str, int], tmp_path: Path) -> None:
    """A unit's last request went through the gateway whose collector stands still."""
    url, _ = server
    store = Store(url)
    queries = Queries(store, lambda: datetime.now(UTC))
    logs = [tmp_path / name / "live.jsonl" for name in ("a", "b")]
    for log in logs:
        log.parent.mkdir()
        log.touch()

    def arms() -> dict[str, int]:
        return {row.arm: row.tally.n for row in queries.tallies("r1")[1] if row.metric == "label"}

    with collecting(url, logs[0], "a"), collecting(url, logs[1], "b") as lagging:
        eventually(lambda: _readers(store), lambda n: n == 2)
        with hung(lagging.pid):
            time.sleep(1.0)
            now = datetime.now(UTC)
            at = int(now.timestamp() * 1e6)
            logs[0].write_text(line("a", unit="u", ts=str(at), assigned=assigned("stable")))
            logs[1].write_text(
                line("b", unit="u", ts=str(at + 1_000_000), assigned=assigned("candidate"), upstream="2")
            )
            eventually(lambda: queries.counters()[Count.LINES], lambda n: n == 1)
            late = now + timedelta(seconds=2)
            outcome = OutcomeIn(model="delays", unit="u", name="label", value=2, at=late)
            eventually(lambda: record(store, [outcome], datetime.now(UTC)))
            time.sleep(8)
            assert arms() == {}, "the outcome was joined by what one of two collectors had read"
        assert eventually(arms, lambda found: bool(found)) == {"candidate": 1}
    assert queries.counters()[Count.LINES] == 2
    store.close()


def _readers(store: Store) -> int:
    with store.read() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM readers").scalar() or 0)
