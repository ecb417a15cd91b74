"""Connections of the ledger: one engine for SQLite and PostgreSQL, in which writers take turns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, InterfaceError, ProgrammingError
from sqlalchemy.pool import ConnectionPoolEntry

from sluicegate.registry.words.errors import InvalidSetting, Unreachable

_TURN = 0x51_01CE
"""Key of the PostgreSQL advisory lock that writers hold until they commit."""
_BUSY_MS = 30_000
_WRITES = "ledger_writes"


def connect(url: str) -> Engine:
    """An engine for `sqlite:///PATH` or `postgresql://…`. Opens no connection yet."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InvalidSetting(f"not a ledger URL: {url!r}", fix=_FORMS) from error
    match parsed.get_backend_name():
        case "sqlite" if parsed.database not in (None, "", ":memory:"):
            engine = create_engine(parsed)
            event.listen(engine, "connect", _sqlite_connected)
            event.listen(engine, "begin", _sqlite_begin)
            return engine
        case "postgresql":
            return create_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
        case _:
            raise InvalidSetting(f"the ledger cannot live at {parsed.render_as_string()!r}", fix=_FORMS)


_FORMS = "write sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE"


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection to read with."""
    with _told_plainly(engine), engine.connect() as connection:
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that no other writer overlaps; durable when the block has been left."""
    writers = engine.execution_options(**{_WRITES: True})
    with _told_plainly(engine), writers.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_TURN})")
        yield connection


def _sqlite_connected(dbapi: object, _record: ConnectionPoolEntry) -> None:
    dbapi.isolation_level = None  # type: ignore[attr-defined]  # we say BEGIN ourselves
    cursor = dbapi.cursor()  # type: ignore[attr-defined]
    for pragma in (f"busy_timeout = {_BUSY_MS}", "journal_mode = WAL", "synchronous = FULL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _sqlite_begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _told_plainly(engine: Engine) -> Iterator[None]:
    """Failures of the database become Unreachable; violated constraints and our own mistakes stay what they are."""
    try:
        yield
    except (IntegrityError, ProgrammingError):
        raise
    except (DatabaseError, InterfaceError) as error:
        where = engine.url.render_as_string(hide_password=True)
        raise Unreachable(
            f"the ledger {where} cannot be used: {error.orig}",
            fix="see that it exists, has space and can be written; sluice doctor tells more.",
        ) from error
