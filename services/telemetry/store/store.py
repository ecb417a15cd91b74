"""Store: the telemetry database, on SQLite or PostgreSQL; its transactions and its additive writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine

from sluicegate.registry.words.errors import Unreachable
from sluicegate.registry.words.write_ahead import write_ahead
from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.store.migrations import migrate, schema_number
from sluicegate.services.telemetry.store.unit_store import changes, changes_of_sheet
from sluicegate.services.telemetry.tally.tally_accumulator import TallyAccumulator

WATERMARK = "watermark"
_IDS = "exposures"
_LOCK = 7_346_921_505
"""Key of the PostgreSQL advisory lock that puts writers in a row, as SQLite does by itself."""
_WRITES = "sluice_writes"

Merge = Literal["add", "min", "max"]
"""How a column of a row that is there takes in a new value."""


class Store:
    """The telemetry database. Any number of processes may read; writers take turns.

    `durable` makes every commit survive a power loss. The collector does without: what it loses it reads again from
    the logs. Whoever acknowledges something that cannot be read again, such as an outcome, must not.
    """

    def __init__(self, url: str, *, durable: bool = True) -> None:
        self.engine = _engine(url, durable=durable)
        self._create()

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that no other writer overlaps; committed on leaving, rolled back on an exception."""
        writing = {_WRITES: True}
        with _told_plainly(), self.engine.connect().execution_options(**writing) as connection, connection.begin():
            if not self.is_sqlite:
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One transaction that sees a single state of the database, whatever is written meanwhile."""
        options: dict[str, Any] = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        with _told_plainly(), self.engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    def add(
        self, connection: Connection, table: sa.Table, rows: Iterable[tuple[Any, ...]],
        merge: Mapping[str, Merge] | None = None,
    ) -> None:  # fmt: skip
        """Add rows to a table of sums: a new key is inserted, a known one grows, as `merge` says or by adding."""
        columns = table.columns.keys()
        values = [dict(zip(columns, row, strict=True)) for row in sorted(rows)]
        if not values:
            return
        dialect = sqlite if self.is_sqlite else postgresql
        statement: Any = dialect.insert(table)
        keys = [column.name for column in table.primary_key]
        grown = {
            column.name: self._merged((merge or {}).get(column.name, "add"), column, statement.excluded[column.name])
            for column in table.columns
            if column.name not in keys
        }
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=grown), values)

    def count(self, connection: Connection, counts: Mapping[Any, int]) -> None:
        """Add to counters."""
        self.add(connection, schema.counters, ((str(name), n) for name, n in counts.items() if n))

    def insert(
        self, connection: Connection, table: sa.Table, rows: Sequence[tuple[Any, ...]], *, replace: bool = False
    ) -> int:  # fmt: skip
        """Insert rows, in the order of the table's columns, as fast as the driver can; how many went in.

        A number that the database draws is left out of them.

        One whose unique key is taken is left out, or takes the place of the row that has its primary key.
        """
        if not rows:
            return 0
        keys = [column.name for column in table.primary_key]
        columns = [column.name for column in table.columns if column is not table.autoincrement_column]
        mark = "?" if self.is_sqlite else "%s"
        marks = ", ".join(mark for _ in columns)
        grown = ", ".join(f'"{name}" = excluded."{name}"' for name in columns if name not in keys)
        conflict = f"({_quoted(keys)}) DO UPDATE SET {grown}" if replace else "DO NOTHING"
        sql = f"INSERT INTO {table.name} ({_quoted(columns)}) VALUES ({marks}) ON CONFLICT {conflict}"  # noqa: S608
        return connection.exec_driver_sql(sql, list(rows)).rowcount

    def take_ids(self, connection: Connection, n: int) -> int:
        """Set n consecutive ids of exposures aside for this transaction; the id before the first. Never reused."""
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
            cursor.execute("COMMIT")  # flushes the log of all writes, those of other connections included
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

    def _create(self) -> None:
        """Make the tables, or bring them to today's schema. One that is so already is opened without waiting."""
        with self.read() as connection:
            if schema_number(connection) == schema.VERSION:
                return
        with self.write() as connection:
            migrate(connection)


def write_tallies(store: Store, connection: Connection, gathered: TallyAccumulator) -> None:
    """Add what was gathered to the tallies, and raise the watermark: they changed."""
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
    """Whether a column has one of any number of texts, which are one parameter."""
    if store.is_sqlite:
        each = sa.func.json_each(orjson.dumps(list(texts)).decode()).table_valued("value")
        return column.in_(sa.select(each.c.value))
    return column == sa.any_(sa.literal(list(texts), postgresql.ARRAY(sa.Text)))


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


_BUSY_MS = {True: 5_000, False: 20_000}
"""Time that a writer waits for its turn: somebody waits for an acknowledgement, and nobody for the collector."""


@contextmanager
def _told_plainly() -> Iterator[None]:
    """Failures of the database become Unreachable; violated constraints and our own mistakes stay what they are."""
    try:
        yield
    except (sa.exc.IntegrityError, sa.exc.ProgrammingError, sa.exc.DataError):
        raise
    except (sa.exc.DatabaseError, sa.exc.InterfaceError) as error:
        raise Unreachable(
            f"the telemetry cannot be used now: {error.orig}.", fix="try again; to find out why: sluice doctor"
        ) from error


def _engine(url: str, *, durable: bool) -> Engine:
    engine = sa.create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
    if engine.dialect.name != "sqlite":
        return engine

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy's transactions, not the driver's
        write_ahead(connection.execute, _BUSY_MS[durable])
        synchronous = f"synchronous={'FULL' if durable else 'NORMAL'}"
        for pragma in (synchronous, "cache_size=-65536", "wal_autocheckpoint=4000", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
