"""The chain on every adapter: whatever is changed, removed, added or reordered is found, however many write."""

from __future__ import annotations

import dataclasses
import os
import random
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, inspect, text

from sluicegate.registry.ledger import chain
from sluicegate.registry.ledger.chain import Head, parse_head
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.record import Changes, Receipt
from sluicegate.registry.ledger.sql import SqlLedger
from sluicegate.registry.rollout.facts import Aborted, Entry
from sluicegate.registry.words.errors import LedgerConflict, UsageError
from tests.contract.ledgers import Reopen, at, document, launched, look, requested, run
from tests.doubles.ledger import MemoryLedger

TABLES = ("entries", "looks", "documents", "links", "heads")


def fill(ledger: Ledger) -> None:
    """Facts of two rollouts, looks, documents, and what an order records, in turns."""
    ledger.open("r1", requested(), at(0))
    ledger.apply(document("delays", "1"))
    run(ledger, "r1", *launched())
    ledger.record_look(look(1))
    ledger.open("r2", requested(variation="spare"), at(1))
    ledger.record_look(look(2))
    ledger.record_look(look(2))
    ledger.apply(document("delays", "2"))
    ledger.withdraw("plan", "delays", actor="ada", at=at(3))
    ended = Entry(rollout="r2", seq=1, at=at(4), fact=Aborted(actor="ada", reason="no", verdicts={}))
    ledger.commit(lambda _: Changes(entries=(ended,), documents=(document("x", "3"),), receipt=Receipt()))


# --- on every adapter ------------------------------------------------------------------------------------------------


def test_an_untouched_record_has_no_faults(ledger: Ledger) -> None:
    assert ledger.verify().head == chain.START
    fill(ledger)
    seen = ledger.verify()
    assert (seen.faults, seen.head.place) == ((), 7 + 2 + 4)


def test_a_head_that_was_kept_stays_part_of_a_record_that_grows(ledger: Ledger) -> None:
    fill(ledger)
    kept = ledger.verify().head
    ledger.record_look(look(3))
    assert ledger.verify(parse_head(str(kept))).faults == ()
    assert ledger.verify().head.place == kept.place + 1


def test_a_record_that_was_made_anew_is_not_the_one_whose_head_was_kept(ledger: Ledger) -> None:
    """What no chain can see from within: all of it was written again."""
    fill(ledger)
    other = Head(place=4, hash="0" * 64)
    assert "differ from the record" in "".join(ledger.verify(other).faults)
    assert "the head that you kept is link 99" in "".join(ledger.verify(Head(place=99, hash="0" * 64)).faults)


@pytest.mark.parametrize("written", ["", "12", "12:xyz", "12:", ":" + "0" * 64, "-1:" + "0" * 64, "0:" + "0" * 64])
def test_what_is_no_head_is_refused(written: str) -> None:
    with pytest.raises(UsageError, match="PLACE:HASH"):
        parse_head(written)


# --- memory ----------------------------------------------------------------------------------------------------------


def test_in_memory_a_changed_fact_look_or_document_is_found() -> None:
    ledger = MemoryLedger()
    fill(ledger)
    fed = ledger._feed[3]
    ledger._feed[3] = dataclasses.replace(fed, entry=dataclasses.replace(fed.entry, at=at(999)))
    ledger._looks["r1", "log_loss", 1] = ledger._looks["r1", "log_loss", 1].replace("goes on", "goes on.")
    ledger._documents[0] = dataclasses.replace(ledger._documents[0], actor="eve")
    faults = " ".join(ledger.verify().faults)
    assert "entry r1 3 was changed" in faults
    assert "look r1 log_loss 1 was changed" in faults
    assert "document plan delays 1 was changed" in faults


# --- databases: any value of any row, any row, any two rows -----------------------------------------------------------


def rows(connection: Connection, table: str) -> list[dict[str, object]]:
    return [dict(row) for row in connection.execute(text(f"SELECT * FROM {table}")).mappings()]


def where(connection: Connection, table: str, row: dict[str, object]) -> tuple[str, dict[str, object]]:
    keys = inspect(connection).get_pk_constraint(table)["constrained_columns"]
    return " AND ".join(f"{key} = :old_{key}" for key in keys), {f"old_{key}": row[key] for key in keys}


def change_a_value(connection: Connection, table: str, draw: random.Random) -> str:
    row = draw.choice(rows(connection, table))
    column = draw.choice(sorted(row))
    condition, key = where(connection, table, row)
    value = _other(row[column], draw)
    connection.execute(text(f"UPDATE {table} SET {column} = :new WHERE {condition}"), {"new": value, **key})
    return f"{table}.{column} of {row}: {value!r}"


def _other(value: object, draw: random.Random) -> object:
    if isinstance(value, int):
        return value + draw.choice([1_000, 5_000])
    assert isinstance(value, str)
    place = draw.randrange(len(value))
    return value[:place] + chr(ord(value[place]) ^ 1) + value[place + 1 :]


def remove_a_row(connection: Connection, table: str, draw: random.Random) -> str:
    row = draw.choice(rows(connection, table))
    condition, key = where(connection, table, row)
    connection.execute(text(f"DELETE FROM {table} WHERE {condition}"), key)
    return f"{table}: without {row}"


def swap_two_rows(connection: Connection, table: str, draw: random.Random) -> str:
    """Two rows change places in the order: their keys are exchanged."""
    one, other = draw.sample(rows(connection, table), 2)
    number = inspect(connection).get_pk_constraint(table)["constrained_columns"][-1]
    steps = ((one[number], 90_000), (other[number], one[number]), (90_000, other[number]))
    for old, new in steps:
        connection.execute(text(f"UPDATE {table} SET {number} = :new WHERE {number} = :old"), {"new": new, "old": old})
    return f"{table}: {one} and {other} changed places"


def add_a_copy(connection: Connection, table: str, draw: random.Random) -> str:
    row = draw.choice(rows(connection, table))
    number = "seq" if table == "entries" else inspect(connection).get_pk_constraint(table)["constrained_columns"][-1]
    row = {**row, number: 70_000, **({"id": 70_000} if "id" in row else {})}
    columns = ", ".join(row)
    connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES (:{', :'.join(row)})"), row)
    return f"{table}: added {row}"


def cut_the_end(connection: Connection, _table: str, draw: random.Random) -> str:
    """The last rows and their links together: what a chain alone cannot see, and the head does."""
    last = draw.randrange(1, 5)
    cut = connection.execute(text("SELECT place, kind, name FROM links ORDER BY place DESC")).all()[:last]
    for place, kind, name in cut:
        words = name.split()
        wheres = {
            "entry": ("entries", "rollout = :a AND seq = :k"),
            "look": ("looks", "rollout = :a AND k = :k"),
            "document": ("documents", "kind = :a AND id = :k"),
        }
        table, condition = wheres[kind]
        connection.execute(text(f"DELETE FROM {table} WHERE {condition}"), {"a": words[0], "k": int(words[-1])})
        connection.execute(text("DELETE FROM links WHERE place = :place"), {"place": place})
    return f"the last {last} rows and their links are gone"


ACTS = [(act, table) for act in (change_a_value, remove_a_row) for table in TABLES]
ACTS += [(act, table) for act in (swap_two_rows, add_a_copy) for table in ("entries", "looks", "documents", "links")]
ACTS.append((cut_the_end, "entries"))


@pytest.mark.parametrize(("act", "table"), ACTS, ids=[f"{act.__name__}-{table}" for act, table in ACTS])
def test_whatever_is_done_to_a_row_is_found(act, table: str, url: str) -> None:
    ledger = SqlLedger(url)
    fill(ledger)
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        for seed in range(8):
            with engine.connect() as connection, connection.begin() as transaction:
                what = act(connection, table, random.Random(seed))
                assert _faults_inside(ledger, connection), what
                transaction.rollback()
        assert ledger.verify().faults == ()
    finally:
        engine.dispose()
        ledger.close()


def _faults_inside(ledger: SqlLedger, connection: Connection) -> tuple[str, ...]:
    """What verify finds inside this transaction, which has not been committed."""
    from sluicegate.registry.ledger.sealing import examination_of

    return examination_of(connection, None).faults


def test_any_byte_of_a_fact_in_the_file_is_found(tmp_path: Path) -> None:
    """Also one that makes a text of it that is none."""
    path = tmp_path / "ledger.db"
    ledger = SqlLedger(f"sqlite:///{path}")
    fill(ledger)
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE entries SET payload = CAST(x'ff' || CAST(payload AS BLOB) AS TEXT) WHERE seq = 1")
    raw.close()
    assert "entry r1 1 was changed" in " ".join(ledger.verify().faults)
    ledger.close()


@given(column=st.sampled_from(["rollout", "at", "fact", "payload"]), place=st.integers(0, 10**6), bit=st.integers(0, 6))
def test_any_bit_of_a_row_changes_its_digest(column: str, place: int, bit: int) -> None:
    stored = {"id": 3, "rollout": "r1", "seq": 2, "at": "2026", "fact": "Begun", "payload": '{"stable":"1"}'}
    text = stored[column]
    assert isinstance(text, str)
    place %= len(text)
    other = text[:place] + chr(ord(text[place]) ^ (1 << bit)) + text[place + 1 :]
    row = chain.Row(kind=chain.Kind.ENTRY, columns=stored)
    assert chain.Row(kind=chain.Kind.ENTRY, columns={**stored, column: other}).digest() != row.digest()


# --- writers, migrations ----------------------------------------------------------------------------------------------


def test_writers_at_once_make_one_chain(url: str, reopen: Reopen) -> None:
    reopen().open("r1", requested(), at(0))
    gate = threading.Barrier(4)

    def write(number: int) -> None:
        ledger = reopen()
        gate.wait()
        for k in range(8):
            ledger.record_look(look(k))
            ledger.open(f"w{number}-{k}", requested(), at(k))
            try:
                ledger.append("r1", 1, Aborted(actor="ada", reason="no", verdicts={}), at(1))
            except LedgerConflict:
                continue

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    seen = reopen().verify()
    assert (seen.faults, seen.head.place) == ((), 1 + 8 + 4 * 8 + 1)


def test_a_head_that_was_tampered_with_keeps_nobody_from_recording(url: str, reopen: Reopen) -> None:
    ledger = reopen()
    fill(ledger)
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    for statement in ("UPDATE heads SET place = 2", "DELETE FROM links WHERE place > 5", "DELETE FROM heads"):
        with engine.begin() as connection:
            connection.execute(text(statement))
        ledger.open(os.urandom(4).hex(), requested(), at(9))
    engine.dispose()
    assert "links 6 to 14 are missing" in " ".join(ledger.verify().faults)


def test_what_was_recorded_before_there_was_a_chain_is_linked_by_the_migration(url: str, reopen: Reopen) -> None:
    fill(reopen())
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        for table in ("links", "heads", "samples", "rollouts", "keepers"):
            connection.execute(text(f"DROP TABLE {table}"))
        connection.execute(text("CREATE TABLE targets (model TEXT, variation TEXT)"))
        connection.execute(text("CREATE UNIQUE INDEX one_holder_per_target ON targets (model, variation)"))
        connection.execute(text("UPDATE sluice_ledger_version SET version_num = '0003'"))
    engine.dispose()
    ledger = reopen()
    assert (ledger.verify().faults, ledger.verify().head.place) == ((), 13)
    ledger.record_look(look(9))
    assert ledger.verify().faults == ()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            "update rollouts set reason = 'all is well' where rollout = 'r2'",
            "rollout r2: its row says reason all is well, but its facts say no",
        ),
        (
            "update rollouts set open = 1, state = 'running' where rollout = 'r2'",
            "rollout r2: its row says state running, but its facts",
        ),
        ("delete from rollouts where rollout = 'r1'", "rollout r1 has facts, but no row in the table of rollouts"),
        (
            "update rollouts set rollout = 'r7' where rollout = 'r1'",
            "rollout r7 has a row in the table of rollouts, but no facts",
        ),
    ],
)
def test_a_row_that_says_otherwise_than_the_facts_is_found(tmp_path: Path, change: str, says: str) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    ledger = SqlLedger(url)
    fill(ledger)
    assert ledger.verify().faults == ()
    with create_engine(url).begin() as connection:
        connection.exec_driver_sql(change)
    assert any(says in fault for fault in ledger.verify().faults), ledger.verify().faults
