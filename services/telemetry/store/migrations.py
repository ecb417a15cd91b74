"""Migrations: a telemetry database of a former schema becomes one of today's, with everything that it holds.

Each step stays what it was when its number was given, in SQL that SQLite and PostgreSQL share. Tables that are new are
made at the end. All of it is one transaction of the caller's: it happens wholly, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sluicegate.registry.words.errors import SluiceError
from sluicegate.services.telemetry.store import pair_schema as _pairs  # its tables belong to the schema
from sluicegate.services.telemetry.store import schema

__all__ = ["_pairs", "migrate", "schema_number"]
_NUMBER = "version"


def schema_number(connection: Connection) -> int | None:
    """Which schema the database has; none: it is empty. Raises SluiceError for one that a newer program wrote."""
    if not sa.inspect(connection).has_table(schema.state.name):
        return None
    number = connection.scalar(sa.select(schema.state.c.value).where(schema.state.c.key == _NUMBER))
    if number is not None and number > schema.VERSION:
        raise SluiceError(
            f"the telemetry database has schema {number}; this sluice knows {schema.VERSION} at most.",
            fix="upgrade sluice to the version that wrote it.",
        )
    return None if number is None else int(number)


def migrate(connection: Connection) -> None:
    """Bring the schema to today's number."""
    former = schema_number(connection)
    for number in range(former or schema.VERSION, schema.VERSION):
        _STEPS[number](connection)
    schema.METADATA.create_all(connection)
    if former is None:
        connection.execute(sa.insert(schema.state).values(key=_NUMBER, value=schema.VERSION))
    else:
        connection.execute(sa.update(schema.state).where(schema.state.c.key == _NUMBER).values(value=schema.VERSION))


def _shorter_sums(connection: Connection) -> None:
    """Sums of units have short names, tallies no range, pairs count what is missing; `pulse` is `recent`.

    Some of it may be so already: number 1 was given to several shapes.
    """
    tables = set(sa.inspect(connection).get_table_names())
    if "pulse" in tables and "recent" in tables:  # what it holds is of the last hour
        _run(connection, "DROP TABLE pulse")
    elif "pulse" in tables:
        _run(connection, "DROP INDEX pulse_at", "ALTER TABLE pulse RENAME TO recent")
        _run(connection, "CREATE INDEX recent_at ON recent (at)")
    if "low" in _columns(connection, "tallies"):
        _run(connection, "ALTER TABLE tallies DROP COLUMN low", "ALTER TABLE tallies DROP COLUMN high")
    if "missing" not in _columns(connection, "pair_sums"):
        _run(connection, "ALTER TABLE pair_sums ADD COLUMN missing BIGINT NOT NULL DEFAULT 0")
    if "count" in _columns(connection, "unit_sums"):
        _run(
            connection,
            "ALTER TABLE unit_sums ADD COLUMN size BIGINT NOT NULL DEFAULT 0",
            'UPDATE unit_sums SET size = CAST("count" AS BIGINT)',
            'ALTER TABLE unit_sums DROP COLUMN "count"',
            *(f"ALTER TABLE unit_sums RENAME COLUMN sum_{name} TO {name}" for name in _UNIT_SUMS),
        )


def _slices(connection: Connection) -> None:
    """Requests tell the slices that they are counted in."""
    if "slices" not in _columns(connection, "exposures"):
        _run(connection, "ALTER TABLE exposures ADD COLUMN slices TEXT")


def _headers_of_bodies(connection: Connection) -> None:
    """Bodies have headers beside them."""
    if "headers" not in _columns(connection, "bodies"):
        _run(connection, "ALTER TABLE bodies ADD COLUMN headers TEXT")


_UNIT_SUMS = ("x", "n", "xx", "xn", "nn", "xxx", "xxn", "xnn", "nnn")
_STEPS: Mapping[int, Callable[[Connection], None]] = {1: _shorter_sums, 2: _slices, 3: _headers_of_bodies}
"""By the number that each leads on from."""


def _columns(connection: Connection, table: str) -> set[str]:
    """The columns of a table; none where it is not there, as those of pairs once were only where shadows had been."""
    inspector = sa.inspect(connection)
    return {each["name"] for each in inspector.get_columns(table)} if inspector.has_table(table) else {"missing"}


def _run(connection: Connection, *statements: str) -> None:
    for statement in statements:
        connection.exec_driver_sql(statement)
