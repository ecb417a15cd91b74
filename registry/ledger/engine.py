"""Connections of the ledger: one engine for SQLite and PostgreSQL, in which writers take turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, InterfaceError, ProgrammingError
from sqlalchemy.pool import ConnectionPoolEntry

from sluicegate.registry.ledger.patience import SILENCE, Connecting, PatientConnection
from sluicegate.registry.words.errors import InvalidSetting, Unreachable
from sluicegate.registry.words.write_ahead import write_ahead

_TURN = 0x51_01CE
"""Key of the PostgreSQL advisory lock that writers hold until they commit."""
_BUSY_MS = 30_000
TURN_SECONDS = 10.0
"""How long a thread waits for other threads of its process."""
_ABANDONED_MS = 20_000
"""Time after which PostgreSQL ends a silent writer that holds the lock, because it hangs."""
_WRITES = "ledger_writes"


def connect(location: str) -> Engine:
    """An engine for `sqlite:///PATH` or `postgresql://…`. Opens no connection yet."""
    try:
        parsed = make_url(location)
    except ArgumentError as error:
        raise InvalidSetting(f"{location!r} is not a valid URL of a ledger", fix=_FORMS) from error
    match parsed.get_backend_name():
        case "sqlite" if parsed.database not in (None, "", ":memory:"):
            engine = create_engine(parsed)
            event.listen(engine, "connect", _sqlite_connected)
            event.listen(engine, "begin", _sqlite_begin)
            return engine
        case "postgresql":
            url = parsed.set(drivername="postgresql+psycopg")
            engine = create_engine(url, pool_pre_ping=True, pool_timeout=TURN_SECONDS)
            event.listen(engine, "do_connect", Connecting())
            return engine
        case _:
            raise InvalidSetting(f"the ledger cannot be stored at {parsed.render_as_string()!r}", fix=_FORMS)


def log_file(location: str) -> Path | None:
    """The file that SQLite writes to before the database itself; None for other databases."""
    url = make_url(location)
    return Path(f"{url.database}-wal") if url.get_backend_name() == "sqlite" else None


_FORMS = "write sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE"


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection for reading."""
    with _failures_as_unreachable(engine), engine.connect() as connection:
        yield connection


@contextmanager
def writing(engine: Engine, silence: float = SILENCE) -> Iterator[Connection]:
    """A transaction that no other writer overlaps. It is durable once the block is left.

    A PostgreSQL that stays silent for `silence` seconds is given up. Raises Unreachable, which says whether anything
    was
    recorded.
    """
    writers = engine.execution_options(**{_WRITES: True})
    outcome, fix = _NOTHING
    with _failures_as_unreachable(engine, lambda: (outcome, fix)), writers.begin() as connection:
        if engine.dialect.name != "postgresql":
            yield connection
            return
        with _patiently(connection, silence):
            connection.exec_driver_sql(_TAKE_TURN)
            yield connection
            outcome, fix = _IN_DOUBT  # from here on the commit may succeed and only its answer be lost


_FIX = "check that its server runs, or that its disk has free space and can be written; all checks: sluice doctor"
_NOTHING = "nothing was recorded: ", _FIX
_IN_DOUBT = (
    "it is not known whether this was recorded: ",
    "check what happened before you repeat it: sluice rollout list",
)


_TAKE_TURN = (
    f"SELECT set_config('idle_in_transaction_session_timeout', '{_ABANDONED_MS}', true), pg_advisory_xact_lock({_TURN})"
)


@contextmanager
def _patiently(connection: Connection, silence: float) -> Iterator[None]:
    driver = connection.connection.driver_connection
    assert isinstance(driver, PatientConnection)
    driver.silence = silence
    try:
        yield
    finally:
        driver.silence = SILENCE


def _sqlite_connected(dbapi: object, _record: ConnectionPoolEntry) -> None:
    dbapi.isolation_level = None  # type: ignore[attr-defined]  # we say BEGIN ourselves
    cursor = dbapi.cursor()  # type: ignore[attr-defined]
    write_ahead(cursor.execute, _BUSY_MS)
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


def _sqlite_begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _failures_as_unreachable(
    engine: Engine, outcome: Callable[[], tuple[str, str]] = lambda: ("", _FIX)
) -> Iterator[None]:
    """Turn failures of the database into Unreachable. Violated constraints and our own mistakes stay as they are."""
    try:
        yield
    except (IntegrityError, ProgrammingError):
        raise
    except (DatabaseError, InterfaceError) as error:
        where = engine.url.render_as_string(hide_password=True)
        what, fix = outcome()
        why = " ".join(str(error.orig).split())
        raise Unreachable(f"{what}the ledger {where} cannot be used: {why}", fix=fix) from error
