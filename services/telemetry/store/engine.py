"""Database connections of the telemetry: engines for SQLite and PostgreSQL, and readable errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from sluicegate.registry.ledger.patience import LONG, SILENCE, Connecting, PatientConnection
from sluicegate.registry.words.errors import InvalidSetting, Unreachable
from sluicegate.registry.words.write_ahead import write_ahead

WRITES = "sluice_writes"
"""The option with which a SQLite transaction takes the write lock when it begins."""
_BUSY_MS = {True: 5_000, False: 20_000}
"""The longest wait for the write lock, by `durable`: short if a client waits for an acknowledgement, long for the
collector."""
_SILENCE = {True: SILENCE, False: 20.0}
"""Seconds that PostgreSQL may take to respond, by `durable`; also the longest wait for its write lock."""
_ABANDONED_MS = 20_000
"""Time after which PostgreSQL ends an idle transaction, since its process hangs and others wait for it."""
_TURN_SECONDS = 10.0
"""The longest wait for a connection from the pool."""
_FORMS = "write sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE."


def connect(url: str, *, durable: bool) -> Engine:
    """An engine for `sqlite:///PATH` or `postgresql://…`. Opens no connection yet."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise InvalidSetting("the telemetry's address is not a URL.", fix=_FORMS) from None
    match parsed.get_backend_name():
        case "sqlite":
            return _sqlite(parsed, durable=durable)
        case "postgresql":
            return _postgresql(parsed, durable=durable)
        case _:
            raise InvalidSetting(f"the telemetry cannot lie at {parsed.render_as_string()}.", fix=_FORMS)


@contextmanager
def told_plainly(engine: Engine) -> Iterator[None]:
    """Converts failures of the database to Unreachable. Violated constraints and programming errors pass unchanged."""
    try:
        yield
    except (sa.exc.IntegrityError, sa.exc.ProgrammingError, sa.exc.DataError):
        raise
    except (sa.exc.DatabaseError, sa.exc.InterfaceError, sa.exc.TimeoutError) as error:
        why = " ".join(str(getattr(error, "orig", None) or error).split()).rstrip(".")
        where = "" if engine.dialect.name == "sqlite" else f" in {engine.url.render_as_string(hide_password=True)}"
        raise Unreachable(
            f"the telemetry{where} cannot be used now: {why}.", fix="try again; all checks: sluice doctor"
        ) from error


@contextmanager
def without_hurry(connection: Connection) -> Iterator[None]:
    """Allows long statements that nothing waits for, such as a migration or an index."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, PatientConnection):
        yield
        return
    before, driver.silence = driver.silence, LONG
    try:
        yield
    finally:
        driver.silence = before


def _sqlite(url: sa.URL, *, durable: bool) -> Engine:
    engine = sa.create_engine(url)

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy's transactions, not the driver's
        write_ahead(connection.execute, _BUSY_MS[durable])
        synchronous = f"synchronous={'FULL' if durable else 'NORMAL'}"
        for pragma in (synchronous, "cache_size=-65536", "wal_autocheckpoint=4000", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql(url: sa.URL, *, durable: bool) -> Engine:
    """An engine with time limits in case the server hangs; locks of a client that hangs are released."""
    arguments = {"options": f"-c idle_in_transaction_session_timeout={_ABANDONED_MS}"}
    engine = sa.create_engine(
        url.set(drivername="postgresql+psycopg"), pool_pre_ping=True, pool_timeout=_TURN_SECONDS,
        connect_args=arguments if "options" not in url.query else {},
    )  # fmt: skip
    sa.event.listen(engine, "do_connect", Connecting())

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.silence = _SILENCE[durable]

    return engine
