"""Collectors of several hosts on one database: one joins for all, and none before the slowest has read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from benchmarks.collector_lines import START, START_US, line
from sluicegate.flows.wiring.collecting import reader_findings
from sluicegate.services.host.doctor.finding import CheckStatus
from sluicegate.services.telemetry.outcomes.outcome import OutcomeIn
from sluicegate.services.telemetry.store.store import Store
from sluicegate.services.telemetry.tailing import readers
from sluicegate.services.telemetry.tailing.collector import Collector
from sluicegate.services.telemetry.tailing.readers import SharedLevels, all_readers
from tests.contract.telemetry_rig import CANDIDATE, Rig

LATER = {"unit": "u", "ts": str(START_US + 1_000_000), **CANDIDATE}
NONE = (0, 0, 0.0)


class Host:
    """A collector of a host, with connections of its own."""

    def __init__(self, rig: Rig, url: str, name: str, log: Path) -> None:
        self.store = Store(url, durable=False, host=name)
        self.levels = SharedLevels(self.store, name, [str(log)])
        self.log = log
        self.collector = Collector(self.store, log, rig.specs.get, lambda: rig.now, levels=self.levels)

    def write(self, *lines: str) -> None:
        with self.log.open("a") as file:
            file.writelines(lines)

    def collect(self) -> None:
        while self.collector.collect():
            pass


class Two:
    """Two hosts; `rig` sees what they do."""

    def __init__(self, rig: Rig, url: str, folder: Path) -> None:
        self.rig = rig
        logs = [folder / name / "live.jsonl" for name in ("a", "b")]
        for log in logs:
            log.parent.mkdir()
            log.write_text("")
        self.a, self.b = (Host(rig, url, log.parent.name, log) for log in logs)

    def turn(self, *hosts: Host, times: int = 3) -> None:
        """Time passes, and these hosts collect in turn."""
        for _ in range(times):
            self.rig.now += timedelta(seconds=1)
            for host in hosts:
                host.collect()

    def close(self) -> None:
        self.a.store.close()
        self.b.store.close()


@pytest.fixture
def two(url: str, tmp_path: Path) -> Iterator[Two]:
    rig = Rig(url, tmp_path / "none.jsonl")
    rig.log.write_text("")
    two = Two(rig, url, tmp_path)
    yield two
    two.close()
    rig.store.close()


def joined(two: Two) -> tuple[tuple[int, int, float], tuple[int, int, float]]:
    return two.rig.sums("spend"), two.rig.sums("spend", "candidate")


def outcome(two: Two) -> None:
    two.rig.record(OutcomeIn(model="delays", unit="u", name="spend", value=3, at=START + timedelta(seconds=2)))


def test_an_outcome_waits_for_the_host_that_is_behind(two: Two) -> None:
    two.turn(two.b, two.a)
    two.rig.now += timedelta(seconds=30)
    two.a.write(line("first", unit="u", ts=str(START_US)))
    two.b.write(line("last", **LATER))
    two.b.levels.look(int((START - timedelta(minutes=1)).timestamp() * 1e6))
    outcome(two)
    behind = dict.fromkeys([str(two.b.log)], 0)
    two.b.levels._read = behind
    two.b.levels.look(int(two.rig.now.timestamp() * 1e6))
    two.turn(two.a)
    assert joined(two) == (NONE, NONE)
    two.turn(two.b, two.a)
    assert joined(two) == (NONE, (1, 0, 3.0))
    two.rig.counted(outcomes=1, joined=1, scored=1)


def test_one_of_them_joins_and_another_takes_over_where_it_falls_silent(two: Two) -> None:
    two.turn(two.b, two.a)
    two.turn(two.b)
    assert (two.a.levels.joins, two.b.levels.joins) == (True, False)
    two.rig.now += timedelta(microseconds=readers.PRESENT)
    two.turn(two.b)
    assert two.b.levels.joins


def test_a_host_that_is_gone_holds_up_an_hour_and_counts_again_when_it_is_back(two: Two) -> None:
    two.turn(two.b, two.a)
    two.a.write(line("only", unit="u", ts=str(START_US)))
    two.rig.record(OutcomeIn(model="delays", unit="u", name="spend", value=3, at=two.rig.now))
    two.rig.now += timedelta(minutes=50)
    two.turn(two.a)
    assert joined(two) == (NONE, NONE)
    two.rig.now += timedelta(minutes=11)
    two.turn(two.a)
    assert joined(two) == ((1, 0, 3.0), NONE)
    assert [each.retired for each in all_readers(two.a.store)] == [False, True]
    two.b.write(line("late", unit="v"))
    two.turn(two.b)
    assert [each.retired for each in all_readers(two.a.store)] == [False, False]
    assert two.rig.sums("mean")[0] == 2


def test_logs_of_the_same_path_are_told_apart(url: str, tmp_path: Path) -> None:
    """Containers have the same paths; here a host's folder moves, and the other one's takes its place."""
    rig = Rig(url, tmp_path / "none.jsonl")
    log = tmp_path / "live.jsonl"
    log.write_text(line("of-a"))
    a = Host(rig, url, "a", log)
    a.collect()
    log.write_text(line("of-b") + line("of-b-too"))
    b = Host(rig, url, "b", log)
    b.collect()
    b.collector.forget_gone(rig.now + timedelta(days=9))
    log.write_text(line("of-a"))
    again = Host(rig, url, "a", log)
    again.collect()
    assert rig.sums("mean")[0] == 3
    for host in (a, b, again):
        host.store.close()
    rig.store.close()


def test_the_doctor_names_who_is_behind(two: Two) -> None:
    two.turn(two.a)
    now = int(two.rig.now.timestamp() * 1e6)
    assert reader_findings(all_readers(two.a.store), now) == (), "one reader alone is nothing to tell"
    two.turn(two.b, two.a)
    now = int(two.rig.now.timestamp() * 1e6)
    assert {each.status for each in reader_findings(all_readers(two.a.store), now)} == {CheckStatus.PASS}
    two.rig.now += timedelta(minutes=5)
    two.turn(two.a)
    told = reader_findings(all_readers(two.a.store), int(two.rig.now.timestamp() * 1e6))
    assert [each.status for each in told] == [CheckStatus.PASS, CheckStatus.WARN]
    assert "b/live.jsonl was read until 5 min ago" in told[1].found
