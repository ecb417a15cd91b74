"""Requests in PostgreSQL: numbers of each writer's own, days that go whole, and whatever is broken off in between."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from benchmarks.collector_lines import START, START_US, assigned, line
from sluicegate.services.telemetry.outcomes.outcome import OutcomeIn
from sluicegate.services.telemetry.outcomes.retention import _drop_days, retain
from sluicegate.services.telemetry.store import days, row_numbers, schema
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.telemetry.store.segments import Finder
from sluicegate.services.telemetry.tailing.collector import Collector
from tests.contract.telemetry_rig import Killed, Rig, killed_at

pytestmark = pytest.mark.postgres
DAY = days.DAY_US


@pytest.fixture
def rig(database: str, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(database, tmp_path / "live.jsonl")
    yield rig
    rig.store.close()


def tables(rig: Rig) -> set[str]:
    with rig.store.read() as connection:
        found = connection.exec_driver_sql("SELECT relname FROM pg_class WHERE relname LIKE 'exposures_d%%'")
        return {name for name in found.scalars() if not name.endswith("_pkey")}


def rows(rig: Rig, table: sa.Table) -> int:
    with rig.store.read() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def write_on(rig: Rig, day: float, *names: str) -> None:
    rig.write(*(line(name, unit=name, ts=str(START_US + int(day * DAY) + n)) for n, name in enumerate(names)))
    rig.now = max(rig.now, START + timedelta(days=day, minutes=1))
    rig.collect()


def found(rig: Rig, *names: str) -> set[str]:
    with rig.store.read() as connection:
        return set(Finder().by_request(connection, names))


def test_a_day_goes_whole_with_all_that_belongs_to_it(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_numbers, "BITS", 3)
    write_on(rig, 0, *(f"a{n}" for n in range(30)))
    write_on(rig, 1, *(f"b{n}" for n in range(30)))
    assert len(tables(rig)) == 2
    assert rows(rig, schema.lookups) > 0
    before = rig.queries.tallies("r1")[1]
    assert retain(rig.store, START + timedelta(hours=1), rig.now).exposures == 0, "the day is not over"
    assert retain(rig.store, START + timedelta(days=1), rig.now).exposures == 30
    assert len(tables(rig)) == 1
    assert found(rig, "a3", "b3") == {"b3"}
    assert rig.queries.tallies("r1")[1] == before
    retain(rig.store, START + timedelta(days=3), rig.now)
    assert tables(rig) == set()
    for table in (schema.exposures, schema.segments, schema.segment_kinds, schema.lookups, schema.kinds):
        assert rows(rig, table) == 0, table.name
    write_on(rig, 0, "late")
    assert found(rig, "late") == {"late"}, "a log that is read later still has a place"


def test_full_segments_are_sealed_and_searched_by_what_was_written_down(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_numbers, "BITS", 3)
    for n in range(12):
        write_on(rig, 0, *(f"q{n}-{each}" for each in range(4)))
    with rig.store.read() as connection:
        sealed = connection.scalars(sa.select(schema.segments.c.sealed).order_by("segment")).all()
    assert sealed == [1, 1, 1, 1, 1, 0]
    names = [f"q{n}-{each}" for n in range(12) for each in range(4)]
    assert found(rig, *names) == set(names)


def test_what_a_killed_writer_left_is_sealed_and_not_filled_any_more(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that only seemed to be gone finds out, and takes another one."""
    monkeypatch.setattr(row_numbers, "BITS", 3)
    write_on(rig, 0, "left")
    seeming = rig.collector
    rig.start()
    write_on(rig, 0.1, *(f"q{n}" for n in range(20)))
    with rig.store.read() as connection:
        assert connection.scalars(sa.select(schema.segments.c.sealed).order_by("segment")).all() == [1, 1, 1, 0]
    rig.write(line("more", unit="more", ts=str(START_US + DAY // 10 + 99)))
    seeming._known = None
    with pytest.raises(row_numbers.SealedError):
        seeming.collect()
    while seeming.collect():
        pass
    assert found(rig, "left", "more", "q7") == {"left", "more", "q7"}
    assert rows(rig, schema.exposures) == 22


def test_a_day_that_was_half_dropped_is_dropped_by_the_next_pass_and_counts_once(rig: Rig) -> None:
    rig.specs = {}
    rig.start()
    write_on(rig, 0, "a", "b")
    write_on(rig, 1, "c")
    limit, statement, broken = START_US + DAY - START_US % DAY, 1, 0
    while tables(rig) != {days._name(days.day_of(START_US + DAY))}:
        with killed_at(rig.store.engine, statement):
            try:
                _drop_days(rig.store, limit)
            except Killed:
                broken += 1
        statement += 1
        assert statement < 100
    assert broken > 5
    assert found(rig, "a", "c") == {"c"}
    assert rig.queries.counters()[Count.UNTALLIED] == 2
    with rig.store.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(schema.unjudged)) == 1


def test_a_day_that_was_detached_only_is_made_anew(rig: Rig) -> None:
    write_on(rig, 0, "a")
    name = days._name(days.day_of(START_US))
    with rig.store.write() as connection:
        connection.exec_driver_sql(f"ALTER TABLE exposures DETACH PARTITION {name}")
        connection.execute(sa.delete(schema.segments))
    rig.start()
    write_on(rig, 0, "b")
    assert found(rig, "a", "b") == {"b"}


def test_writers_do_not_wait_for_each_other_until_they_count(rig: Rig, tmp_path: Path) -> None:
    """While one has its turn, another one's rows are on their way; it waits before it adds to a tally."""
    log = tmp_path / "other.jsonl"
    log.write_text(line("b"))
    other = Collector(rig.store, log, rig.specs.get, lambda: rig.now, joins=False)
    reached: list[str] = []

    def note(*told: object) -> None:
        statement = str(told[2])
        reached.append(statement)
        if "pg_advisory_xact_lock" in statement:
            raise Killed  # it would wait here

    sa.event.listen(rig.store.engine, "before_cursor_execute", note)
    try:
        with rig.store.engine.connect() as holder, holder.begin(), pytest.raises(Killed):
            other.collect()
    finally:
        sa.event.remove(rig.store.engine, "before_cursor_execute", note)
    assert any("offsets" in each for each in reached)
    assert not any("tallies" in each or "counters" in each for each in reached)
    assert rows(rig, schema.exposures) == 0
    while other.collect():
        pass
    assert (rows(rig, schema.exposures), rig.sums("mean")[0]) == (1, 1)


def test_a_chunk_that_is_broken_off_anywhere_counts_once(rig: Rig) -> None:
    write_on(rig, 0, "first")
    rig.specs["r2"] = rig.specs["r1"]
    rig.write(*(line(f"q{n}", unit=f"u{n % 7}", ts=str(START_US + n)) for n in range(40)))
    rig.write(line("r2", assigned=assigned(rollout="r2")))
    rig.record(OutcomeIn(prediction_id="q3", name="spend", value=2))
    statement, broken = 1, 0
    while rig.sums("mean")[0] != 41 or rig.sums("spend")[0] != 1:
        with killed_at(rig.store.engine, statement):
            try:
                rig.collector.collect()
            except Killed:
                broken += 1
                rig.start()
        statement += 1
        assert statement < 200
    rig.collect()
    assert broken > 10
    assert rows(rig, schema.exposures) == 42
    assert rig.sums("mean")[0] == 41
    assert rig.sums("spend") == (1, 0, 2.0)
