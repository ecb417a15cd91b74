"""SQL: runs one SELECT on a read-only connection, with bound parameters and a time limit, in PostgreSQL or SQLite.

The query is nested in another SELECT, so that only a SELECT is valid and at most two rows are returned.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from sluicegate.registry.ledger.patience import Connecting, PatientConnection
from sluicegate.registry.plan.placeholders import bind_sql
from sluicegate.registry.words.sample import Measured
from sluicegate.services.sources.no_number import NoNumber, finite
from sluicegate.services.sources.source import ExternalSource


def ask_sql(source: ExternalSource, query: str, values: Mapping[str, str], seconds: float) -> Measured:
    """The number in the single row, and its time if there is a second column. Raises NoNumber."""
    bound, names = bind_sql(query)
    # The limit is a parameter: with parameters, PostgreSQL accepts only a single statement.
    statement = text(f"SELECT * FROM (\n{bound}\n) AS answer LIMIT :most_rows")  # noqa: S608
    try:
        with _connected(source.url, seconds) as connection:
            parameters = {name: values[name] for name in names} | {"most_rows": 2}
            rows = connection.execute(statement, parameters).fetchall()
    except DBAPIError as error:
        raise NoNumber(_why(error, seconds)) from None
    except (SQLAlchemyError, ArgumentError, ValueError):
        raise NoNumber("its setting is not the address of a database") from None
    return _one(rows)


@contextmanager
def _connected(url: str, seconds: float) -> Iterator[Connection]:
    """A new connection, closed afterwards, so that nothing a query sets survives."""
    if url.startswith("sqlite:///"):
        engine = create_engine("sqlite://", poolclass=NullPool, creator=lambda: _sqlite(url, seconds))
    else:
        engine = create_engine(
            make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool, connect_args=_patience(seconds)
        )
        event.listen(engine, "do_connect", partial(_connect, seconds))
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("SET TRANSACTION READ ONLY"))
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _sqlite(url: str, seconds: float) -> sqlite3.Connection:
    path, over = url.removeprefix("sqlite:///"), time.monotonic() + seconds
    connection = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=seconds, check_same_thread=False)
    connection.set_progress_handler(lambda: time.monotonic() > over, 10_000)
    return connection


def _connect(seconds: float, *arguments: Any) -> PatientConnection:
    connection = Connecting()(*arguments)
    connection.silence = seconds
    return connection


def _patience(seconds: float) -> dict[str, object]:
    """Connection arguments with limits for a server that hangs and a query that takes too long."""
    millis = int(seconds * 1000)
    read_only = f"-c default_transaction_read_only=on -c statement_timeout={millis} -c lock_timeout={millis}"
    return {
        "connect_timeout": max(round(seconds), 1), "options": read_only, "application_name": "sluice",
    }  # fmt: skip


def _why(error: DBAPIError, seconds: float) -> str:
    message = str(error.orig).strip()
    if "statement timeout" in message or "has not answered" in message or message == "interrupted":
        return f"the query did not finish within {seconds:g} s"
    first = message.splitlines()[0] if message else type(error.orig).__name__
    is_away = error.connection_invalidated or "connection" in message.lower() or "unable to open" in message
    return "the database cannot be reached" if is_away else f"the query fails: {first}"


def _one(rows: Sequence[Sequence[object]]) -> Measured:
    if not rows:
        raise NoNumber("the query returns no row")
    if len(rows) > 1:
        raise NoNumber("the query returns several rows, but a gate needs one")
    value, *rest = rows[0]
    if len(rest) > 1:
        raise NoNumber(
            f"the row has {len(rest) + 1} columns: select the number and, if you like, the time of its measurement"
        )
    if value is None:
        raise NoNumber("the query returns NULL")
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise NoNumber(f"the query returns {type(value).__name__} instead of a number")
    try:
        number = finite(float(value))
    except (OverflowError, ValueError):
        raise NoNumber("the query returns a number that is too large") from None
    return Measured(value=number, at=_time(rest[0]) if rest else None)


def _time(value: object) -> datetime:
    """The time in the second column, in UTC if it has no zone."""
    try:
        at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise NoNumber("the second column is not a time") from None
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
