"""Migrations: bring a telemetry database with an older schema, and all its data, to the present one.

A released step never changes; it uses SQL that SQLite and PostgreSQL share. New tables are created at the end. The
whole migration runs in one transaction of the caller, so it happens completely or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sluicegate.registry.words.errors import SluiceError
from sluicegate.services.telemetry.store import pair_schema as _pairs  # its tables belong to the schema
from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.store.rows import packed, parted
from sluicegate.services.telemetry.store.unit_store import packed_rows
from sluicegate.services.telemetry.tally.batch import Batch
from sluicegate.services.telemetry.tally.exposure import Exposure

__all__ = ["_pairs", "migrate", "schema_number"]
_NUMBER = "version"


def schema_number(connection: Connection) -> int | None:
    """The number of the database's schema; None if it is empty. Raises SluiceError if a newer program wrote it."""
    if not sa.inspect(connection).has_table(schema.state.name):
        return None
    number = connection.scalar(sa.select(schema.state.c.value).where(schema.state.c.key == _NUMBER))
    if number is not None and number > schema.VERSION:
        raise SluiceError(
            f"the telemetry database has schema {number}, which is newer than this sluice knows ({schema.VERSION}).",
            fix="upgrade sluice to the version that wrote the database.",
        )
    return None if number is None else int(number)


def migrate(connection: Connection) -> None:
    """Bring the schema to the present version."""
    former = schema_number(connection)
    for number in range(former or schema.VERSION, schema.VERSION):
        _STEPS[number](connection)
    schema.METADATA.create_all(connection)
    if former is None:
        connection.execute(sa.insert(schema.state).values(key=_NUMBER, value=schema.VERSION))
    else:
        connection.execute(sa.update(schema.state).where(schema.state.c.key == _NUMBER).values(value=schema.VERSION))


def _shorter_sums(connection: Connection) -> None:
    """Shorten the names of unit sums, drop the range of tallies, count missing pairs, rename `pulse` to `recent`.

    Some of this may be done already, because several layouts had number 1.
    """
    tables = set(sa.inspect(connection).get_table_names())
    if "pulse" in tables and "recent" in tables:  # it only has data of the last hour
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
    """Add the slices to requests."""
    if "slices" not in _columns(connection, "exposures"):
        _run(connection, "ALTER TABLE exposures ADD COLUMN slices TEXT")


def _headers_of_bodies(connection: Connection) -> None:
    """Add the headers to captured bodies."""
    if "headers" not in _columns(connection, "bodies"):
        _run(connection, "ALTER TABLE bodies ADD COLUMN headers TEXT")


def _compact_requests(connection: Connection) -> None:
    """Store requests compactly, with their common parts in a table of kinds; add samples for thresholds."""
    inspector = sa.inspect(connection)
    if inspector.has_table("recent"):
        _run(connection, "DROP INDEX recent_at", "ALTER TABLE recent RENAME TO former_recent")
    _run(
        connection,
        "ALTER TABLE exposures RENAME TO former_exposures",
        "ALTER TABLE segments ADD COLUMN sealed SMALLINT NOT NULL DEFAULT 0",
    )
    made = (schema.kinds, schema.exposures, schema.segment_kinds, schema.samples, schema.recent)
    schema.METADATA.create_all(connection, tables=made)
    if inspector.has_table("former_recent"):
        copied = "SELECT model, variation, build, '', '', at, bin, requests, failed FROM former_recent"
        _run(connection, f"INSERT INTO recent {copied}", "DROP TABLE former_recent")
    _sample_former(connection)
    _copy_former(connection)
    _run(connection, "DROP TABLE former_exposures")


def _packed_units(connection: Connection) -> None:
    """Pack the sums of units, and number the metrics."""
    _run(connection, "ALTER TABLE units RENAME TO former_units")
    schema.METADATA.create_all(connection, tables=(schema.units, schema.unit_metrics))
    for rollout in connection.scalars(sa.text("SELECT DISTINCT rollout FROM former_units ORDER BY rollout")).all():
        after = {"unit": -(1 << 63), "epoch": -1}
        while rows := connection.execute(_FORMER_UNITS, {"rollout": rollout} | after).all():
            sums = [tuple((name, x, n) for name, (x, n) in orjson.loads(row[5]).items()) for row in rows]
            texts = packed_rows(connection, rollout, sums)
            compact = [(rollout, *row[:5], text) for row, text in zip(rows, texts, strict=True)]
            _insert(connection, schema.units, compact)
            after = {"unit": rows[-1][0], "epoch": rows[-1][1]}
    _run(connection, "DROP TABLE former_units")


_FORMER_UNITS = sa.text(
    "SELECT unit, epoch, arm, weight, bucket, sums FROM former_units WHERE rollout = :rollout"
    " AND (unit > :unit OR (unit = :unit AND epoch > :epoch)) ORDER BY unit, epoch LIMIT 10000"
)


def _drops_by_gateway(connection: Connection) -> None:
    """Count dropped copies by gateway; so far there was only one."""
    if _columns(connection, "copy_drops") != {"rollout", "last", "n"}:
        return
    former = connection.exec_driver_sql("SELECT rollout, 'gateway', last, n FROM copy_drops").all()
    _run(connection, "DROP TABLE copy_drops")
    _pairs.copy_drops.create(connection)
    if former:
        _insert(connection, _pairs.copy_drops, [tuple(row) for row in former])


def _requests_by_day(connection: Connection) -> None:
    """Partition requests by day in PostgreSQL, and widen the numbers of segments; existing requests are kept."""
    if connection.dialect.name == "sqlite":
        return
    for table in ("segments", "segment_kinds", "lookups"):
        _run(connection, f"ALTER TABLE IF EXISTS {table} ALTER COLUMN segment TYPE BIGINT")
    if connection.exec_driver_sql("SELECT relkind FROM pg_class WHERE oid = 'exposures'::regclass").scalar() == "p":
        return
    _run(connection, "ALTER TABLE exposures RENAME TO former_exposures")
    schema.METADATA.create_all(connection, tables=(schema.exposures,))
    names = ", ".join(schema.exposures.columns.keys())
    copied = f"INSERT INTO exposures ({names}) SELECT {names} FROM former_exposures"  # noqa: S608
    _run(connection, copied, "DROP TABLE former_exposures")


def _sample_former(connection: Connection) -> None:
    """Take samples of the newest durations and predictions of each build."""
    of_build = "WHERE audience IS NOT NULL AND model = :model AND assigned = :build"
    newest = f"FROM former_exposures {of_build} AND %s ORDER BY id DESC LIMIT 5000"
    builds = "SELECT model, assigned, max(at) FROM former_exposures WHERE audience IS NOT NULL GROUP BY model, assigned"
    for model, build, at in connection.execute(sa.text(builds)).all():
        ours = {"model": model, "build": build}
        timed = f"SELECT duration {newest % 'failed IS NOT NULL AND duration IS NOT NULL'}"
        answered = f"SELECT prediction {newest % 'failed = 0 AND served = assigned AND prediction IS NOT NULL'}"
        durations, predictions = (connection.scalars(sa.text(each), ours).all()[::-1] for each in (timed, answered))
        row = (model, build, len(durations), at, orjson.dumps(durations).decode(), orjson.dumps(predictions).decode())
        connection.execute(sa.insert(schema.samples).values(row))


def _copy_former(connection: Connection) -> None:
    """Copy every request with its id; the collector seals the segments."""
    fields = ", ".join(Exposure._fields)
    query = sa.text(f"SELECT id, {fields} FROM former_exposures WHERE id > :last ORDER BY id LIMIT 10000")  # noqa: S608
    last = -1
    while rows := connection.execute(query, {"last": last}).all():
        last = rows[-1][0]
        exposures = [Exposure(*each[1:]) for each in rows]
        numbers, answers, kinds = parted(Batch.of(exposures), 300)
        having = {(row[0] >> 14, number) for row, number in zip(rows, numbers, strict=True)}
        compact = [
            (row[0], number, packed(each.rid), each.at, each.unit, each.duration, answer, each.slices)
            for row, each, number, answer in zip(rows, exposures, numbers, answers, strict=True)
        ]
        _insert(connection, schema.exposures, compact)
        _insert(connection, schema.kinds, [(key, *kind) for key, kind in kinds.items()])
        _insert(connection, schema.segment_kinds, sorted(having))


def _insert(connection: Connection, table: sa.Table, rows: Sequence[tuple[object, ...]]) -> None:
    """Insert rows, except those that exist."""
    marks = ", ".join("?" if connection.dialect.name == "sqlite" else "%s" for _ in table.columns)
    connection.exec_driver_sql(f"INSERT INTO {table.name} VALUES ({marks}) ON CONFLICT DO NOTHING", list(rows))  # noqa: S608


_UNIT_SUMS = ("x", "n", "xx", "xn", "nn", "xxx", "xxn", "xnn", "nnn")
_STEPS: Mapping[int, Callable[[Connection], None]] = {
    1: _shorter_sums,
    2: _slices,
    3: _headers_of_bodies,
    4: _compact_requests,
    5: lambda _: None,  # only adds a table, which is created at the end
    6: _packed_units,
    7: _drops_by_gateway,
    8: _requests_by_day,
}
"""The steps, by the schema number that each starts from."""


def _columns(connection: Connection, table: str) -> set[str]:
    """The columns of a table; only "missing" if there is no such table, such as those of pairs in old databases without
    shadows."""
    inspector = sa.inspect(connection)
    return {each["name"] for each in inspector.get_columns(table)} if inspector.has_table(table) else {"missing"}


def _run(connection: Connection, *statements: str) -> None:
    for statement in statements:
        connection.exec_driver_sql(statement)
