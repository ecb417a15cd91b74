"""A disk that is full: nothing is lost, nothing counts twice, and status says so, until there is room again."""

from __future__ import annotations

import resource
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from benchmarks.collector_lines import START, START_US, line
from sluicegate.flows.wiring.collecting import finding
from sluicegate.registry.words.errors import Unreachable
from sluicegate.services.host.doctor.finding import CheckStatus
from sluicegate.services.telemetry.outcomes.intake import record
from sluicegate.services.telemetry.outcomes.outcome import OutcomeIn
from sluicegate.services.telemetry.outcomes.retention import retain
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.telemetry.store.engine import _BUSY_MS
from sluicegate.services.telemetry.store.store import Store
from sluicegate.services.telemetry.tailing.backlog import backlog
from tests.contract.telemetry_rig import Rig

ROWS = 4_000


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(f"sqlite:///{tmp_path}/telemetry.db", tmp_path / "live.jsonl")
    yield rig
    rig.store.close()


@contextmanager
def full_disk(more: int) -> Iterator[None]:
    """No file of this process grows beyond `more` bytes: writes fail as on a full disk, wherever they happen to be."""
    had = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (more, had[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, had)
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.parametrize("room", [40_000, 700_000])
def test_lines_wait_in_the_log_until_there_is_room(rig: Rig, room: int) -> None:
    rig.write(line("first"))
    rig.collect()
    rig.write(*(line(f"q{n}", ts=str(START_US + n * 1_000)) for n in range(ROWS)))
    rig.record(OutcomeIn(prediction_id="q7", name="late", value=1))
    with full_disk(room):
        for _ in range(3):
            with pytest.raises(Unreachable):
                rig.collect()
        behind = backlog(rig.store, [rig.log])
        assert behind.unread_bytes > 0
        later = rig.now.timestamp() + 300
        assert finding(behind, later).status is CheckStatus.WARN
        assert "none was counted for 5 min" in finding(behind, later).found
    rig.collect()
    counters = rig.queries.counters()
    assert (counters[Count.LINES], counters[Count.EXPOSURES]) == (ROWS + 1, ROWS + 1)
    assert (counters[Count.OUTCOMES], counters[Count.JOINED], counters[Count.QUARANTINED]) == (1, 1, 0)
    assert rig.sums("brier")[0] == 1
    seen = rig.queries.requests_by_arm("r1").stable
    assert seen.requests == ROWS + 1
    assert sum(row.tally.n for row in rig.queries.tallies("r1")[1] if row.metric == "errors") == ROWS + 1
    assert finding(backlog(rig.store, [rig.log]), later).status is CheckStatus.PASS
    with rig.store.read() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


def test_an_outcome_that_found_no_room_is_refused_aloud_and_sent_again_counts_once(rig: Rig) -> None:
    rig.write(line("a"))
    rig.collect()
    batch = [OutcomeIn(prediction_id="a", name="late", value=1)]
    batch += [OutcomeIn(prediction_id=f"x{n}", name="late", value="v" * 400) for n in range(300)]
    with full_disk(40_000), pytest.raises(Unreachable):
        rig.record(*batch)
    assert rig.queries.counters()[Count.OUTCOMES] == 0
    assert rig.record(*batch).accepted == len(batch)
    rig.collect()
    assert rig.sums("brier")[0] == 1


def test_no_log_is_deleted_before_its_lines_are_safe(rig: Rig) -> None:
    rig.write(*(line(f"q{n}") for n in range(ROWS)))
    rig.log.rename(rig.log.with_name("live.000001.jsonl"))
    rig.write(line("later"))
    rig.now = START + timedelta(days=30)
    with full_disk(40_000):
        with pytest.raises(Unreachable):
            rig.collector.collect()
        finished: tuple[Path, ...] = ()
        with suppress(sqlite3.Error):
            finished = rig.collector.finished()
        assert finished == ()
    rig.collect()
    assert rig.queries.counters()[Count.EXPOSURES] == ROWS + 1


def test_making_room_by_age_works_on_a_full_disk_or_changes_nothing(rig: Rig) -> None:
    rig.write(*(line(f"q{n}") for n in range(ROWS)))
    rig.collect()
    before = rig.sums("errors")
    with full_disk(40_000), pytest.raises(Unreachable):
        retain(rig.store, START + timedelta(days=1), START + timedelta(days=1))
    assert retain(rig.store, START + timedelta(days=1), START + timedelta(days=1)).exposures == ROWS
    assert rig.sums("errors") == before


def test_who_brings_outcomes_while_another_holds_the_lock_is_told_to_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(_BUSY_MS, True, 50)
    store = Store(f"sqlite:///{tmp_path / 'telemetry.db'}", durable=True)
    outcome = OutcomeIn(prediction_id="560041f1-a8a5-40cd-9559-628bcf4d0ca3", name="late", value=1)
    with store.write(), pytest.raises(Unreachable, match="locked"):
        record(store, [outcome], datetime.now(UTC))
    assert record(store, [outcome], datetime.now(UTC)).accepted == 1
    store.close()
