"""Store: the telemetry database in SQLite or PostgreSQL, with its transactions and its additive writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from sluicegate.registry.words.errors import Unreachable
from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.store.bulk import copy_rows, put_rows
from sluicegate.services.telemetry.store.engine import WRITES, connect, told_plainly, without_hurry
from sluicegate.services.telemetry.store.migrations import migrate, schema_number
from sluicegate.services.telemetry.store.unit_store import changes, changes_of_sheet
from sluicegate.services.telemetry.tally.tally_accumulator import TallyAccumulator

WATERMARK = "watermark"
_IDS = "exposures"
_LOCK = 7_346_921_505
"""The key of the PostgreSQL advisory lock that serialises writers, as SQLite does by itself."""

Merge = Literal["add", "min", "max"]
"""How a new value is merged into an existing row's column."""


class Store:
    """The telemetry database. Any number of processes may read; writers take turns.

    `durable` makes every commit survive a power loss. The collector does without, because it can read lost data again
    from the logs. A process that acknowledges data which cannot be read again, such as outcomes, needs it.
    """

    def __init__(self, url: str, *, durable: bool = True, host: str = "") -> None:
        """`host` distinguishes this machine's logs from those of others that share the database; empty: it is not
        shared."""
        self.host = host
        self.engine = connect(url, durable=durable)
        self._is_made = False
        try:
            self._make()
        except Unreachable:
            if self.is_sqlite:  # a file that cannot be opened stays so; a server may come back, and is tried again
                raise

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def write(self, *, in_turn: bool = True) -> Iterator[Connection]:
        """A transaction that no other writer overlaps. It is committed at the end, and rolled back on an exception.

        Without `in_turn`, PostgreSQL lets others overlap it until `take_turn`; inserting its own rows needs no lock.
        """
        self._make()
        with self._writing(in_turn=in_turn) as connection:
            yield connection

    def take_turn(self, connection: Connection) -> None:
        """Take the write lock, and hold it until this transaction ends. May be called more than once."""
        if not self.is_sqlite:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that reads one consistent state of the database."""
        self._make()
        with self._reading() as connection:
            yield connection

    def add(
        self, connection: Connection, table: sa.Table, rows: Iterable[tuple[Any, ...]],
        merge: Mapping[str, Merge] | None = None,
    ) -> None:  # fmt: skip
        """Add rows to a table of sums. New keys are inserted; existing rows are merged as `merge` says, by default
        added."""
        ordered = sorted(rows)
        if not ordered:
            return
        columns = table.columns.keys()
        dialect = sqlite if self.is_sqlite else postgresql
        statement: Any = dialect.insert(table)
        keys = [column.name for column in table.primary_key]
        grown = {
            column.name: self._merged((merge or {}).get(column.name, "add"), column, statement.excluded[column.name])
            for column in table.columns
            if column.name not in keys
        }
        added = statement.on_conflict_do_update(index_elements=keys, set_=grown)
        if self.is_sqlite or not _is_bulk(table, ordered):
            connection.execute(added, [dict(zip(columns, row, strict=True)) for row in ordered])
            return
        compiled = str(added.compile(dialect=connection.dialect))
        put_rows(connection, list(table.columns), ordered, compiled.partition(" ON CONFLICT ")[2])

    def count(self, connection: Connection, counts: Mapping[Any, int]) -> None:
        """Add to counters."""
        self.add(connection, schema.counters, ((str(name), n) for name, n in counts.items() if n))

    def insert(
        self, connection: Connection, table: sa.Table, rows: Sequence[tuple[Any, ...]], *, replace: bool = False
    ) -> int:  # fmt: skip
        """Insert rows, in the order of the table's columns, as fast as the driver can; returns how many were written.

        Rows do not contain numbers that the database generates. A row whose unique key exists is skipped or, with

        `replace`, replaces the row with its primary key.
        """
        if not rows:
            return 0
        keys = [column.name for column in table.primary_key]
        written = [column for column in table.columns if column is not table.autoincrement_column]
        columns = [column.name for column in written]
        grown = ", ".join(f'"{name}" = excluded."{name}"' for name in columns if name not in keys)
        conflict = f"({_quoted(keys)}) DO UPDATE SET {grown}" if replace else "DO NOTHING"
        if not self.is_sqlite and (_is_bulk(table, rows) or (len(rows) >= _MANY and not replace)):
            return put_rows(connection, written, rows, conflict)
        marks = ", ".join("?" if self.is_sqlite else "%s" for _ in columns)
        sql = f"INSERT INTO {table.name} ({_quoted(columns)}) VALUES ({marks}) ON CONFLICT {conflict}"  # noqa: S608
        return connection.exec_driver_sql(sql, list(rows)).rowcount

    def insert_new(self, connection: Connection, table: sa.Table, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows with new keys, in the order of the table's columns."""
        if self.is_sqlite:
            self.insert(connection, table, rows)
        elif rows:
            copy_rows(connection, list(table.columns), rows)

    def take_ids(self, connection: Connection, n: int) -> int:
        """Reserve n consecutive ids of exposures, which are never reused; returns the id before the first."""
        self.add(connection, schema.state, [(_IDS, n)])
        last = connection.scalar(sa.select(schema.state.c.value).where(schema.state.c.key == _IDS))
        return int(last or 0) - n

    def harden(self) -> None:
        """Make everything that was committed so far survive a power loss."""
        if not self.is_sqlite:
            return
        connection = self.engine.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute("PRAGMA synchronous=FULL")
            cursor.execute("BEGIN IMMEDIATE")
            cursor.execute("UPDATE state SET value = value WHERE key = 'version'")
            cursor.execute("COMMIT")  # flushes the write-ahead log, including the writes of other connections
        finally:
            connection.detach()
            connection.close()

    def close(self) -> None:
        self.engine.dispose()

    def _merged(self, how: Merge, column: sa.Column[Any], new: Any) -> Any:
        match how:
            case "add":
                return column + new
            case "min":
                return (sa.func.min if self.is_sqlite else sa.func.least)(column, new)
            case "max":
                return (sa.func.max if self.is_sqlite else sa.func.greatest)(column, new)

    @contextmanager
    def _writing(self, *, in_turn: bool = True) -> Iterator[Connection]:
        options = {WRITES: True}
        engine = self.engine
        with told_plainly(engine), engine.connect().execution_options(**options) as connection, connection.begin():
            if in_turn:
                self.take_turn(connection)
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        options: dict[str, Any] = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        engine = self.engine
        with told_plainly(engine), engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    def _make(self) -> None:
        """Create the tables, or migrate them to the present schema. If nothing is to be done, takes no lock."""
        if self._is_made:
            return
        with self._reading() as connection:
            is_todays = schema_number(connection) == schema.VERSION
        if not is_todays:
            with self._writing() as connection, without_hurry(connection):
                migrate(connection)
        self._is_made = True


def write_tallies(store: Store, connection: Connection, gathered: TallyAccumulator) -> None:
    """Add the accumulated sums to the tallies, and increase the watermark."""
    if not gathered:
        return
    store.add(connection, schema.tallies, gathered.rows())
    if gathered.units:
        units, sums = changes(connection, gathered.units)
        store.insert(connection, schema.units, units, replace=True)
        store.add(connection, schema.unit_sums, sums)
    for rollout, sheet in sorted(gathered.sheets.items()):
        units, sums = changes_of_sheet(connection, rollout, sheet)
        store.insert(connection, schema.units, units, replace=True)
        store.add(connection, schema.unit_sums, sums)
    store.add(connection, schema.state, [(WATERMARK, 1)])


def among(store: Store, column: sa.ColumnElement[str], texts: Iterable[str]) -> sa.ColumnElement[bool]:
    """Whether a column is among any number of texts, which are passed as one parameter."""
    if store.is_sqlite:
        each = sa.func.json_each(orjson.dumps(list(texts)).decode()).table_valued("value")
        return column.in_(sa.select(each.c.value))
    return column == sa.any_(sa.literal(list(texts), postgresql.ARRAY(sa.Text)))


_MANY = 4
"""The number of rows from which on they are sent to PostgreSQL by column."""


def _is_bulk(table: sa.Table, rows: Sequence[tuple[Any, ...]]) -> bool:
    """Whether one statement can write the rows: there are many, and their keys are distinct, as ON CONFLICT
    requires."""
    if len(rows) < _MANY:
        return False
    places = [place for place, column in enumerate(table.columns) if column.primary_key]
    return len({tuple(row[place] for place in places) for row in rows}) == len(rows)


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
