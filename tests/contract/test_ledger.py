"""The Ledger's promises, on every adapter: memory, SQLite and a real PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.ledger.sql import SqlLedger
from sluicegate.registry.rollout.external import LAST
from sluicegate.registry.rollout.facts import Aborted, Begun, Fact, Packed, Promoted, Settled
from sluicegate.registry.rollout.rollout import Phase
from sluicegate.registry.words.errors import (
    IllegalMove,
    InvalidSetting,
    LedgerConflict,
    NotFound,
    SluiceError,
    TargetBusy,
    Unreachable,
)
from sluicegate.registry.words.sample import Lacking, Measured, Reading, Sample
from tests.contract.ledgers import PACKED, Reopen, at, document, launched, look, requested, run
from tests.unit.rollouts import fold

# --- appending -------------------------------------------------------------------------------------------------------


def test_a_rollout_is_the_fold_of_its_entries(ledger: Ledger) -> None:
    ledger.open("r1", requested(), at(0))
    run(ledger, "r1", *launched())
    state = ledger.rollout("r1")
    assert (state.phase, state.weight, state.epoch, state.seq) == (Phase.RUNNING, 1_000, 1, 4)
    assert fold(ledger.entries("r1")) == state == ledger.rollouts()[0]


def test_append_returns_the_state_right_after_the_fact(ledger: Ledger) -> None:
    assert ledger.open("r1", requested(), at(0)).phase is Phase.QUEUED
    assert ledger.append("r1", 1, Begun(stable="1"), at(1)).phase is Phase.LAUNCHING


def test_facts_come_back_as_they_were_written(ledger: Ledger) -> None:
    ledger.open("r1", requested(), at(0))
    facts: list[Fact] = [Begun(stable=None), Aborted(actor="ada", reason="“no” — 否\n", verdicts={"errors": "fail"})]
    run(ledger, "r1", *facts, Settled(changes=("alias champion -> 1", "tag x")))
    assert [entry.fact for entry in ledger.entries("r1", after=0)] == [
        *facts,
        Settled(changes=("alias champion -> 1", "tag x")),
    ]
    assert [entry.seq for entry in ledger.entries("r1", after=1)] == [2, 3]


def test_a_stale_expectation_is_a_conflict_and_leaves_no_trace(ledger: Ledger) -> None:
    ledger.open("r1", requested(), at(0))
    ledger.append("r1", 1, Begun(stable="1"), at(1))
    before = (ledger.position(), ledger.rollout("r1"))
    for expected in (0, 1, 3, -1):
        with pytest.raises(LedgerConflict):
            ledger.append("r1", expected, PACKED, at(2))
    assert (ledger.position(), ledger.rollout("r1")) == before


def test_an_illegal_fact_leaves_no_trace(ledger: Ledger) -> None:
    ledger.open("r1", requested(), at(0))
    before = (ledger.position(), ledger.entries("r1"), ledger.rollout("r1"))
    with pytest.raises(IllegalMove, match="r1 is queued, which does not allow Promoted"):
        ledger.append("r1", 1, Promoted(actor="ada", reason="", override=True, verdicts={}), at(1))
    assert (ledger.position(), ledger.entries("r1"), ledger.rollout("r1")) == before


def test_an_id_is_taken_once(ledger: Ledger) -> None:
    ledger.open("r1", requested(), at(0))
    with pytest.raises(LedgerConflict):
        ledger.open("r1", requested(version="3"), at(1))
    assert ledger.rollout("r1").requested.version == "2"
    assert len(ledger.rollouts()) == 1


def test_an_unknown_rollout_is_not_found(ledger: Ledger) -> None:
    with pytest.raises(NotFound):
        ledger.rollout("nobody")
    with pytest.raises(NotFound):
        ledger.append("nobody", 1, Begun(stable=None), at(0))
    assert ledger.entries("nobody") == ()


def test_what_was_appended_does_not_change_with_the_callers_value(ledger: Ledger) -> None:
    verdicts = {"errors": "fail"}
    ledger.open("r1", requested(), at(0))
    ledger.append("r1", 1, Aborted(actor="ada", reason="bad", verdicts=verdicts), at(1))
    verdicts["errors"] = "pass"
    fact = ledger.entries("r1")[1].fact
    assert isinstance(fact, Aborted)
    assert fact.verdicts == {"errors": "fail"}


def test_times_are_kept_to_the_microsecond_and_come_back_in_utc(ledger: Ledger) -> None:
    there = timezone(timedelta(hours=5, minutes=30))
    moment = at(0.000_001).astimezone(there)
    ledger.open("r1", requested(), moment)
    [entry] = ledger.entries("r1")
    assert entry.at == moment
    assert entry.at.utcoffset() == timedelta(0)


def test_a_time_without_a_zone_is_refused(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="zone"):
        ledger.open("r1", requested(), at(0).replace(tzinfo=None))
    assert ledger.rollouts() == ()


# --- targets ---------------------------------------------------------------------------------------------------------


def test_only_one_rollout_holds_a_target(ledger: Ledger) -> None:
    for rollout, variation in (("r1", "default"), ("r2", "default"), ("r3", "b")):
        ledger.open(rollout, requested(variation=variation), at(0))
    ledger.append("r1", 1, Begun(stable="1"), at(1))
    position = ledger.position()
    with pytest.raises(TargetBusy, match=r"rollout r1 of .* has not ended"):
        ledger.append("r2", 1, Begun(stable="1"), at(2))
    assert (ledger.position(), ledger.rollout("r2").phase) == (position, Phase.QUEUED)
    ledger.append("r3", 1, Begun(stable="1"), at(3))
    ledger.append("r1", 2, Aborted(actor="ada", reason="enough"), at(4))
    assert ledger.append("r2", 1, Begun(stable="1"), at(5)).phase is Phase.LAUNCHING


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE rollouts SET holding = true WHERE rollout = 'r2'",
        "INSERT INTO entries (rollout, seq, at, fact, payload) VALUES ('r1', 1, '', 'Baked', '{}')",
        "INSERT INTO looks (rollout, metric, k, body) VALUES ('r1', 'log_loss', 1, '{}')",
    ],
)
def test_the_database_itself_refuses_what_must_be_unique(url: str, reopen: Reopen, change: str) -> None:
    ledger = reopen()
    for rollout in ("r1", "r2"):
        ledger.open(rollout, requested(), at(0))
    ledger.append("r1", 1, Begun(stable="1"), at(1))
    ledger.record_look(look(1))
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(text(change))
    engine.dispose()


def test_rollouts_come_oldest_first_and_by_model(ledger: Ledger) -> None:
    for rollout, model in (("z", "delays"), ("a", "fares"), ("m", "delays")):
        ledger.open(rollout, requested(model=model), at(0))
    ledger.append("z", 1, Begun(stable=None), at(1))
    assert [state.id for state in ledger.rollouts()] == ["z", "a", "m"]
    assert [state.id for state in ledger.rollouts(Selection(model="delays"))] == ["z", "m"]
    assert ledger.rollouts(Selection(model="nobody")) == ()


# --- many writers ----------------------------------------------------------------------------------------------------


def test_of_many_threads_exactly_one_wins_each_seq(ledger: Ledger) -> None:
    ledger.open("r1", requested(), at(0))
    ledger.append("r1", 1, Begun(stable="1"), at(1))
    gate = threading.Barrier(8)

    def writer(name: int) -> list[int]:
        gate.wait()
        return contend(ledger, str(name), last=21)

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(writer, range(8)))
    assert sorted(seq for seqs in won for seq in seqs) == list(range(2, 22))
    assert [entry.seq for entry in ledger.entries("r1")] == list(range(22))


def test_of_many_processes_exactly_one_wins_each_seq(url: str, reopen: Reopen) -> None:
    ledger = reopen()
    ledger.open("r1", requested(), at(0))
    ledger.append("r1", 1, Begun(stable="1"), at(1))
    writers = [_writer(url, f"w{number}", last=61) for number in range(3)]
    try:
        for writer in writers:
            assert writer.stdout.readline() == "open\n"  # type: ignore[union-attr]
        for writer in writers:
            writer.stdin.write("go\n")  # type: ignore[union-attr]
            writer.stdin.flush()  # type: ignore[union-attr]
        won = {f"w{number}": writer.communicate(timeout=60)[0].split() for number, writer in enumerate(writers)}
    finally:
        _end(writers)
    assert sorted(int(seq) for seqs in won.values() for seq in seqs) == list(range(2, 62))
    for entry in ledger.entries("r1", after=1):
        assert isinstance(entry.fact, Packed)
        assert str(entry.seq) in won[entry.fact.bento]


def test_many_begin_and_one_holds_the_target(ledger: Ledger) -> None:
    for number in range(8):
        ledger.open(f"r{number}", requested(version=str(number)), at(0))
    gate = threading.Barrier(8)

    def begin(number: int) -> bool:
        gate.wait()
        try:
            ledger.append(f"r{number}", 1, Begun(stable="1"), at(1))
        except TargetBusy:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(begin, range(8))) == 1
    assert sum(state.holds_target for state in ledger.rollouts()) == 1


def test_another_reader_sees_every_append_in_order(reopen: Reopen) -> None:
    writer, reader = reopen(), reopen()
    writer.open("r1", requested(), at(0))
    assert reader.rollout("r1").phase is Phase.QUEUED
    seen = [reader.position()]
    for fact in launched():
        run(writer, "r1", fact)
        seen.append(reader.position())
        assert reader.rollouts() == writer.rollouts()
    assert seen == sorted(set(seen))


# --- durability ------------------------------------------------------------------------------------------------------


def test_what_a_killed_writer_was_told_is_there(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    ledger = SqlLedger(url)
    ledger.open("r1", requested(), at(0))
    ledger.append("r1", 1, Begun(stable="1"), at(1))
    for count in (1, 7, 23):
        writer = _writer(url, "victim", last=100_000)
        try:
            writer.stdin.write("go\n")  # type: ignore[union-attr]
            writer.stdin.flush()  # type: ignore[union-attr]
            told = [writer.stdout.readline() for _ in range(count + 1)]  # type: ignore[union-attr]
            writer.send_signal(signal.SIGKILL)
            told += writer.communicate(timeout=30)[0].splitlines()
        finally:
            _end([writer])
        last = max(int(line) for line in told if line.strip().isdigit())
        after = SqlLedger(url)
        assert after.rollout("r1").seq in (last, last + 1)
        assert fold(after.entries("r1")) == after.rollout("r1") == ledger.rollout("r1")
        after.close()
    ledger.close()


def test_sqlite_waits_for_the_disk(tmp_path: Path) -> None:
    ledger = SqlLedger(f"sqlite:///{tmp_path / 'ledger.db'}")
    with ledger._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    ledger.close()


def test_reopening_finds_everything(reopen: Reopen) -> None:
    first = reopen()
    first.open("r1", requested(), at(0))
    run(first, "r1", *launched())
    first.record_look(look(1))
    first.apply(document("delays", "d1"))
    first.remember("poll", {"seen": [1, 2]})
    again = reopen()
    assert again.rollouts() == first.rollouts()
    assert again.position() == first.position()
    assert again.looks("r1") == (look(1),)
    assert again.applied("plan", "delays") == document("delays", "d1")
    assert again.recall("poll") == {"seen": [1, 2]}


# --- schema and addresses --------------------------------------------------------------------------------------------


def test_a_newer_schema_is_refused(url: str, reopen: Reopen) -> None:
    reopen()
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(text("UPDATE sluice_ledger_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(SluiceError, match=r"schema 9999.*Fix: upgrade sluice"):
        reopen()


def test_migrations_make_the_tables_that_the_code_uses(reopen: Reopen) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from sluicegate.registry.ledger.migrate import VERSION_TABLE
    from sluicegate.registry.ledger.tables import metadata

    ledger = reopen()
    assert isinstance(ledger, SqlLedger)
    with ledger._engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata) == []


def test_a_sample_is_stored_once_and_read_back_bit_for_bit(ledger: Ledger) -> None:
    def sample(k: int, reading: Reading, gate: str = "gpu") -> Sample:
        return Sample(rollout="r1", gate=gate, k=k, epoch=2, at=at(k), reading=reading)

    first = sample(1, Measured(value=0.1 + 0.2, at=at(0.25)))
    assert ledger.record_sample(first) == first
    assert ledger.record_sample(sample(1, Lacking(reason="late"))) == first  # whoever comes second reads the first
    second, third = sample(2, Lacking(reason="away: é")), sample(3, Measured(value=-5e-324))
    for each in (second, third, sample(1, Measured(value=9.0), gate="queue")):
        ledger.record_sample(each)
    assert ledger.samples("r1", "gpu", most=10) == (first, second, third)
    assert ledger.samples("r1", "gpu", most=2) == (second, third)
    assert ledger.samples("r2", "gpu", most=10) == ()


def test_of_a_gate_s_samples_those_are_kept_that_a_verdict_rests_on(ledger: Ledger) -> None:
    for k in range(1, LAST + 4):
        for gate in ("gpu", "memory"):
            ledger.record_sample(
                Sample(rollout="r1", gate=gate, k=k, epoch=1, at=at(k), reading=Measured(value=float(k)))
            )
    for gate in ("gpu", "memory"):
        assert [each.k for each in ledger.samples("r1", gate, most=10 * LAST)] == list(range(4, LAST + 4))


def test_the_head_is_the_last_migration_in_the_folder() -> None:
    from alembic.script import ScriptDirectory

    from sluicegate.registry.ledger import migrate

    folder = Path(migrate.__file__).parent / "migrations"
    assert ScriptDirectory(str(folder)).get_heads() == [migrate.HEAD]


def test_many_openers_of_an_empty_database_make_one_schema(url: str) -> None:
    gate = threading.Barrier(6)

    def opener(number: int) -> int:
        gate.wait()
        opened = SqlLedger(url)
        try:
            opened.open(f"r{number}", requested(), at(number))
        finally:
            opened.close()
        return number

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(opener, range(6))) == list(range(6))
    final = SqlLedger(url)
    assert len(final.rollouts()) == 6
    final.close()


@pytest.mark.parametrize("wrong", ["", "ledger.db", "mysql://h/d", "sqlite://", "sqlite:///:memory:"])
def test_an_address_that_cannot_be_a_ledger_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidSetting, match="Fix: write sqlite:///"):
        SqlLedger(wrong)


def test_a_file_that_is_no_database_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("not a database " * 100)
    with pytest.raises(Unreachable, match="not a database"):
        SqlLedger(f"sqlite:///{tmp_path / 'ledger.db'}")


def test_a_server_that_is_away_is_unreachable() -> None:
    with pytest.raises(Unreachable) as raised:
        SqlLedger("postgresql://ada:secret@127.0.0.1:1/ledger")
    assert "secret" not in str(raised.value)


# --- writers in processes of their own -------------------------------------------------------------------------------


def contend(ledger: Ledger, name: str, *, last: int) -> list[int]:
    """Try to append each seq from 2 on; which ones this writer won. A conflict means that another has it."""
    won = []
    for seq in range(2, last + 1):
        try:
            ledger.append("r1", seq, Packed(bento=name, bento_digest="b", model_digest="m"), at(seq))
        except LedgerConflict:
            continue
        won.append(seq)
    return won


def _writer(url: str, name: str, *, last: int) -> subprocess.Popen[str]:
    script = Path(__file__).with_name("ledger_writer.py")
    return subprocess.Popen(
        [sys.executable, str(script), url, name, str(last)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(script.parents[2])},
    )


def _end(writers: list[subprocess.Popen[str]]) -> None:
    for writer in writers:
        writer.kill()
        writer.wait(timeout=30)
        for pipe in (writer.stdin, writer.stdout):
            if pipe is not None:
                pipe.close()
