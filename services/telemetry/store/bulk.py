"""Bulk writes to PostgreSQL: many rows in one statement. One statement per row takes three times as long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def copy_rows(connection: Connection, columns: Sequence[sa.Column[Any]], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows with new keys by COPY."""
    driver = connection.connection.driver_connection
    assert driver is not None
    table = columns[0].table
    with driver.cursor() as cursor, cursor.copy(f"COPY {table} ({_names(columns)}) FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types([_type(column) for column in columns])
        for row in rows:
            copy.write_row(row)


def put_rows(
    connection: Connection, columns: Sequence[sa.Column[Any]], rows: Sequence[tuple[Any, ...]], conflict: str
) -> int:
    """Insert rows, sent column by column; returns how many were written. `conflict` is the action for existing keys."""
    arrays = ", ".join(f"%b::{_type(column)}[]" for column in columns)
    table = columns[0].table
    sql = f"INSERT INTO {table} ({_names(columns)}) SELECT * FROM unnest({arrays}) ON CONFLICT {conflict}"  # noqa: S608
    return connection.exec_driver_sql(sql, tuple(list(each) for each in zip(*rows, strict=True))).rowcount


def _names(columns: Sequence[sa.Column[Any]]) -> str:
    return ", ".join(f'"{column.name}"' for column in columns)


def _type(column: sa.Column[Any]) -> str:
    name = column.type.compile(_DIALECT).lower()
    return {"float": "double precision"}.get(name, name)
