"""Copying a whole ledger: to a file, while others write, and from that file to SQLite or PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, Table, delete, func, insert, select

from sluicegate.registry.ledger.chain import Examination, Head
from sluicegate.registry.ledger.engine import connect, reading, writing
from sluicegate.registry.ledger.migrate import migrate
from sluicegate.registry.ledger.patience import LONG
from sluicegate.registry.ledger.sealing import examination
from sluicegate.registry.ledger.tables import metadata
from sluicegate.registry.words.errors import Refused

_ROWS = 1_000
"""How many rows are in memory at a time."""


def save_ledger(url: str, path: Path) -> Examination:
    """Write the ledger at one moment to a new SQLite file, and return the check of the copy's chain.

    Raises Unreachable, InvalidSetting, and SluiceError for a newer schema.
    """
    with _opened(url) as source:
        if source.dialect.name == "sqlite":
            copy_database(Path(str(source.url.database)), path)
        else:
            with _opened(_file(path)) as target:
                _copy(source, target)
    return examine_file(path)


def load_ledger(path: Path, url: str, *, replace: bool) -> None:
    """Write the ledger in a file to a database, in one transaction. Refused if it has rows, unless `replace`."""
    with _opened(_file(path)) as source, _opened(url) as target:
        _copy(source, target, replace=replace)


def examine_file(path: Path, kept: Head | None = None) -> Examination:
    """Check the chain of a ledger's file. Brings its schema up to date."""
    with _opened(_file(path)) as engine:
        result = examination(engine, kept)
    with closing(sqlite3.connect(path)) as connection:  # one file, without a log next to it
        connection.execute("PRAGMA journal_mode = DELETE")
    return result


def copy_database(source: Path, target: Path) -> None:
    """Copy a SQLite database with SQLite's own backup, whoever writes to it meanwhile. Raises Refused."""
    try:
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=60)) as old,
            closing(sqlite3.connect(target)) as new,
        ):
            old.backup(new)
            new.execute("PRAGMA journal_mode = DELETE")
            (state,) = new.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise Refused(f"the database {source} cannot be copied: {error}.", fix="find out why: sluice doctor") from error
    if state != "ok":
        raise Refused(f"the database {source} is damaged: {state}.", fix="restore it from an earlier backup.")


@contextmanager
def _opened(url: str) -> Iterator[Engine]:
    engine = connect(url)
    try:
        migrate(engine)
        yield engine
    finally:
        engine.dispose()


def _file(path: Path) -> str:
    return f"sqlite:///{path}"


def _copy(source: Engine, target: Engine, *, replace: bool = True) -> None:
    with reading(source) as old, writing(target, LONG) as new:
        if source.dialect.name == "postgresql":
            old.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        if not replace and (table_name := _filled(new)):
            raise Refused(
                f"the ledger {target.url.render_as_string()} is not empty: it has {table_name}.",
                fix="name an empty database in SLUICE_LEDGER, or use --replace to delete what it holds.",
            )
        for table in metadata.sorted_tables:
            new.execute(delete(table))
            for rows in old.execution_options(yield_per=_ROWS).execute(select(table)).mappings().partitions():
                new.execute(insert(table), [dict(row) for row in rows])
            _set_sequence(new, table)


def _filled(connection: Connection) -> str | None:
    """The name of a table with rows, other than the head that every ledger has."""
    return next(
        (
            table.name
            for table in metadata.sorted_tables
            if table.name != "heads" and connection.execute(select(table).limit(1)).first() is not None
        ),
        None,
    )


def _set_sequence(connection: Connection, table: Table) -> None:
    """Continue PostgreSQL's sequence after the last id, because it is separate from the rows. SQLite needs nothing."""
    column = table.autoincrement_column
    if column is None or connection.dialect.name != "postgresql":
        return
    last = connection.execute(select(func.max(column))).scalar()
    if last is not None:
        sequence = func.pg_get_serial_sequence(table.name, column.name)
        connection.execute(select(func.setval(sequence, last)))
