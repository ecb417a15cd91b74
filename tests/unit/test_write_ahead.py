"""Several that open an empty SQLite database at the same moment all open it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sluicegate.registry.words.write_ahead import write_ahead


def busy() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return error


def refusing(times: int, error: Exception) -> tuple[Callable[[str], object], list[str]]:
    said: list[str] = []

    def execute(statement: str) -> None:
        said.append(statement)
        if "WAL" in statement and len(said) <= times + 1:
            raise error

    return execute, said


def test_one_that_is_turned_away_tries_again() -> None:
    execute, said = refusing(3, busy())
    write_ahead(execute, 10_000)
    assert said == ["PRAGMA busy_timeout = 10000", *["PRAGMA journal_mode = WAL"] * 4]


def test_it_gives_up_in_the_end() -> None:
    execute, _ = refusing(10**9, busy())
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        write_ahead(execute, 50)


def test_what_is_not_busy_is_not_tried_again() -> None:
    broken = sqlite3.OperationalError("disk I/O error")
    broken.sqlite_errorcode = sqlite3.SQLITE_IOERR
    execute, said = refusing(10**9, broken)
    with pytest.raises(sqlite3.OperationalError, match="disk"):
        write_ahead(execute, 10_000)
    assert len(said) == 2


def test_six_open_an_empty_database_at_once(tmp_path: Path) -> None:
    for attempt in range(20):
        gate = threading.Barrier(6)

        def opener(_: int, path: Path = tmp_path / f"{attempt}.db", gate: threading.Barrier = gate) -> str:
            gate.wait()
            connection = sqlite3.connect(path)
            try:
                write_ahead(connection.execute, 30_000)
                return str(connection.execute("PRAGMA journal_mode").fetchone()[0])
            finally:
                connection.close()

        with ThreadPoolExecutor(6) as pool:
            assert set(pool.map(opener, range(6))) == {"wal"}
