"""Days: in PostgreSQL, requests are partitioned by day, and a day's table is dropped whole once it is old.

The number of a request begins with its day, which determines its table. A table's requests started on its day, or
before it if a log was read late, but never after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy.engine import Connection

from sluicegate.services.telemetry.store.engine import told_plainly
from sluicegate.services.telemetry.store.schema import DAY_BITS
from sluicegate.services.telemetry.store.store import Store

DAY_US: Final = 86_400_000_000
_LAST_DAY: Final = 1 << 20
_LOCK: Final = 7_346_921_506
"""The key of the advisory lock for creating and dropping days. It is never requested while the write lock is held."""


def day_of(at: int) -> int:
    """The day of a time in microseconds since 1970. Day 0 is for requests from before partitioning by day."""
    return min(max(at // DAY_US, 1), _LAST_DAY)


def first_id(day: int) -> int:
    """The first number of a day."""
    return day << DAY_BITS


def make_day(store: Store, day: int) -> None:
    """Create the table for a day's requests, if needed, in a transaction of its own that no writer waits for."""
    name = _name(day)
    with _alone(store) as connection:
        if name in _attached(connection):
            return
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")  # left over from an interrupted drop
        connection.exec_driver_sql(f"CREATE TABLE {name} (LIKE exposures INCLUDING ALL)")
        span = f"FROM ({first_id(day)}) TO ({first_id(day + 1)})"
        connection.exec_driver_sql(f"ALTER TABLE exposures ATTACH PARTITION {name} FOR VALUES {span}")


def days_before(connection: Connection, limit: int) -> Sequence[int]:
    """The days that ended before a time in microseconds and still have a table, even a half-dropped one."""
    query = "SELECT relname FROM pg_class WHERE relname ~ '^exposures_d[0-9]+$' AND pg_table_is_visible(oid)"
    days = sorted(int(name.rpartition("_d")[2]) for name in connection.exec_driver_sql(query).scalars())
    return [day for day in days if (day + 1) * DAY_US <= limit]


def drop_day(store: Store, day: int) -> None:
    """Drop a day's table. Continues an interrupted drop; writers and readers are not blocked."""
    name = _name(day)
    with _alone(store) as connection:
        if name in _attached(connection):
            how = "FINALIZE" if _is_pending(connection, name) else "CONCURRENTLY"
            connection.exec_driver_sql(f"ALTER TABLE exposures DETACH PARTITION {name} {how}")
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")


def _name(day: int) -> str:
    return f"exposures_d{day}"


@contextmanager
def _alone(store: Store) -> Iterator[Connection]:
    """An autocommit connection that holds the lock, since a concurrent detach cannot run in a transaction."""
    engine: Any = store.engine
    with told_plainly(engine), engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({_LOCK})")
        try:
            yield connection
        finally:
            if not connection.closed and not connection.invalidated:
                connection.exec_driver_sql(f"SELECT pg_advisory_unlock({_LOCK})")


def _attached(connection: Connection) -> set[str]:
    query = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'exposures'::regclass"
    return set(connection.exec_driver_sql(query).scalars())


def _is_pending(connection: Connection, name: str) -> bool:
    query = "SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = %s::regclass"
    return bool(connection.exec_driver_sql(query, (name,)).scalar())
