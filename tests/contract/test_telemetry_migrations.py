"""A telemetry file of a former schema is brought to today's with what it holds; a newer one is left alone."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from zlib import crc32

import pytest
import sqlalchemy as sa

from benchmarks.collector_lines import START_US, line
from sluicegate.registry.plan.fields import PredictionField
from sluicegate.registry.words.errors import SluiceError
from sluicegate.registry.words.tally import Tally, UnitSums
from sluicegate.services.telemetry.outcomes.outcome import OutcomeIn
from sluicegate.services.telemetry.reading.queries import Queries
from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.store.pair_schema import pair_sums
from sluicegate.services.telemetry.store.segments import Finder, by_id
from sluicegate.services.telemetry.store.store import Store
from sluicegate.services.telemetry.store.unit_store import changes
from sluicegate.services.telemetry.tally.exposure import Exposure
from sluicegate.services.telemetry.tally.unit_accumulator import Entry, UnitAccumulator
from sluicegate.services.telemetry.tally.unit_codec import unpacked_sums
from tests.contract.telemetry_rig import Killed, Rig, killed_at

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KNOWN = {
    2: "769a28d6",
    3: "f82620fd",
    4: "6087031c",
    5: "c26ae801",
    6: "50f94654",
    7: "b81af5e9",
    8: "c8cec790",
    9: "f750d359",
}
"""Of each number the digest of its tables."""
_PARTS = ("exposures_undated",)
"""Of tables, in PostgreSQL."""
_WORDS = {"epoch": "INTEGER", "bucket": "BIGINT", "weight": "INTEGER", "at": "BIGINT", "bin": "SMALLINT"}


def _key_columns(*names: str) -> str:
    return ", ".join(f"{name} {_WORDS.get(name, 'TEXT')} NOT NULL" for name in names)


_STRATUM = _key_columns("rollout", "metric", "epoch", "bucket", "arm", "weight")
_KEY = "PRIMARY KEY (rollout, metric, epoch, bucket, arm, weight)"
_UNITS = ", ".join(f"sum_{name} FLOAT NOT NULL" for name in ("x", "n", "xx", "xn", "nn", "xxx", "xxn", "xnn", "nnn"))
_SUMS = "total FLOAT NOT NULL, squares FLOAT NOT NULL, cubes FLOAT NOT NULL"
FIRST = f"""
CREATE TABLE tallies ({_STRATUM}, n BIGINT NOT NULL, missing BIGINT NOT NULL, {_SUMS},
    low FLOAT NOT NULL, high FLOAT NOT NULL, {_KEY});
CREATE TABLE unit_sums ({_STRATUM}, "count" FLOAT NOT NULL, {_UNITS}, {_KEY});
CREATE TABLE pair_sums ({_key_columns("rollout", "segment", "what", "key")}, n BIGINT NOT NULL, {_SUMS},
    PRIMARY KEY (rollout, segment, what, key));
CREATE TABLE pulse ({_key_columns("model", "variation", "build", "at", "bin")},
    requests BIGINT NOT NULL, failed BIGINT NOT NULL, PRIMARY KEY (model, variation, build, at, bin));
CREATE INDEX pulse_at ON pulse (at);
CREATE TABLE segments (segment INTEGER NOT NULL PRIMARY KEY, first_at BIGINT NOT NULL, last_at BIGINT NOT NULL,
    requests BIGINT NOT NULL);
CREATE TABLE exposures (id BIGINT NOT NULL PRIMARY KEY, segment INTEGER NOT NULL, rid_key BIGINT NOT NULL,
    unit_key BIGINT, rid TEXT, at BIGINT NOT NULL, model TEXT NOT NULL, variation TEXT NOT NULL, audience TEXT,
    rollout TEXT, epoch INTEGER NOT NULL, bucket BIGINT NOT NULL, weight INTEGER NOT NULL, arm TEXT NOT NULL,
    assigned TEXT NOT NULL, served TEXT, unit TEXT, status SMALLINT NOT NULL, failed SMALLINT, duration BIGINT,
    attempts SMALLINT NOT NULL, prediction TEXT);
CREATE TABLE units (rollout TEXT NOT NULL, unit BIGINT NOT NULL, epoch INTEGER NOT NULL, arm TEXT NOT NULL,
    weight INTEGER NOT NULL, bucket BIGINT, sums TEXT NOT NULL, PRIMARY KEY (rollout, unit, epoch));
CREATE INDEX exposures_rid ON exposures (segment, rid_key);
CREATE INDEX exposures_unit ON exposures (segment, unit_key) WHERE unit_key IS NOT NULL;
CREATE INDEX exposures_build ON exposures (model, assigned, id)
"""
"""What number 1 had otherwise."""
CAME_WITH_7 = ("units", "unit_metrics")
CAME_WITH_5 = ("kinds", "exposures", "segments", "segment_kinds", "lookups", "left_out", "samples")
CAME_WITH_3 = ("slice_values",)
CAME_WITH_2 = ("ends", "logs", "recent", "tallies", "unit_sums", "pair_sums")
ROWS = (
    "INSERT INTO tallies VALUES ('r1', 'errors', 1, 300, 'stable', 1000, 5, 2, 3.0, 3.0, 3.0, 0.0, 1.0)",
    "INSERT INTO unit_sums VALUES ('r1', 'errors', 1, 300, 'stable', 1000, 4, 1.5, 5, 2.25, 3, 25, 3.375, 7, 9, 125)",
    """INSERT INTO units VALUES ('r1', -7, 1, 'stable', 1000, 300, '{"errors":[1.0,3],"drift":[0.1,2]}'),
       ('r1', 9, 2, 'candidate', 1000, NULL, '{}')""",
    "INSERT INTO pair_sums VALUES ('r1', '', 'diff', 'p', 7, 1.5, 2.5, 3.5)",
    "INSERT INTO pulse VALUES ('m', 'default', '1', 40, 3, 9, 1)",
    "INSERT INTO counters VALUES ('lines', 12)",
    "INSERT INTO state VALUES ('version', 1), ('watermark', 3), ('exposures', 20000)",
)


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    yield engine
    engine.dispose()


def place(engine: sa.Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def first(engine: sa.Engine) -> None:
    """A database as number 1 wrote it, with a rollout's evidence."""
    with engine.begin() as connection:
        tables = [
            table
            for table in schema.METADATA.sorted_tables
            if table.name not in (*CAME_WITH_2, *CAME_WITH_3, *CAME_WITH_5, *CAME_WITH_7)
        ]
        schema.METADATA.create_all(connection, tables=tables)
        for statement in (*FIRST.split(";"), *ROWS):
            connection.exec_driver_sql(statement)


def all_of(engine: sa.Engine) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table that is there."""
    with engine.connect() as connection:
        tables = sorted(sa.inspect(connection).get_table_names())
        return {name: sorted(map(tuple, connection.exec_driver_sql(f"SELECT * FROM {name}"))) for name in tables}


def test_a_former_database_goes_on_with_everything_that_it_holds(engine: sa.Engine) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    first(engine)
    store = Store(place(engine))
    watermark, (row,) = Queries(store, lambda: NOW).tallies("r1")
    assert (watermark, row.tally) == (3, Tally(5, 2, 3.0, 3.0, 3.0))
    assert row.units == UnitSums(4, 1.5, 5, 2.25, 3, 25, 3.375, 7, 9, 125)
    assert isinstance(row.units.size, int)
    with engine.connect() as connection:
        assert tuple(connection.execute(sa.select(pair_sums)).one()) == ("r1", "", "diff", "p", 7, 0, 1.5, 2.5, 3.5)
        assert tuple(connection.execute(sa.select(schema.recent)).one()) == ("m", "default", "1", "", "", 40, 3, 9, 1)
        context = MigrationContext.configure(connection, opts={"include_name": lambda name, *_: name not in _PARTS})
        assert compare_metadata(context, schema.METADATA) == []
    store.close()
    there = all_of(engine)
    assert ("version", schema.VERSION) in there["state"]
    Store(place(engine)).close()
    assert all_of(engine) == there, "once more is once"


def test_units_of_a_former_database_go_on(engine: sa.Engine) -> None:
    first(engine)
    store = Store(place(engine))
    sheet = UnitAccumulator()
    sheet.entries["r1", -7][1] = Entry("stable", 1000, 300, (("errors", 1.0, 1),))
    with store.write() as connection:
        rows, sums = changes(connection, sheet)
        store.insert(connection, schema.units, rows, replace=True)
        assert sum((UnitSums(*each[6:]) for each in sums), UnitSums()) == (
            UnitSums.from_unit(2.0, 4) - UnitSums.from_unit(1.0, 3)
        )
        kept = connection.execute(sa.select(schema.units).order_by(schema.units.c.unit)).all()
        known = sa.select(schema.unit_metrics.c.metric).order_by(schema.unit_metrics.c.position)
        names = connection.scalars(known).all()
    assert [tuple(row[:6]) for row in kept] == [
        ("r1", -7, 1, "stable", 1000, 300),
        ("r1", 9, 2, "candidate", 1000, None),
    ]
    unit, metric, x, n = (each.tolist() for each in unpacked_sums([row[6] for row in kept]))
    assert sorted(zip(unit, (names[each] for each in metric), x, n, strict=True)) == [
        (0, "drift", 0.1, 2), (0, "errors", 2.0, 4),
    ]  # fmt: skip
    store.close()


def test_requests_of_a_former_database_are_found_and_joined(engine: sa.Engine, tmp_path: Path) -> None:
    """Every row becomes what it was, and thresholds are frozen from the same."""
    first(engine)
    former = {number: _former(number) for number in range(20_001, 20_301)}
    with engine.begin() as connection:
        rows = [(n, n >> 14, crc32((each.rid or "").encode()), None, *each[:-1]) for n, each in former.items()]
        mark = "?" if engine.dialect.name == "sqlite" else "%s"
        marks = ", ".join(mark for _ in rows[0])
        connection.exec_driver_sql(f"INSERT INTO exposures VALUES ({marks})", rows)
        connection.exec_driver_sql(f"INSERT INTO segments VALUES (1, {START_US}, {START_US + 10**9}, 300)")
        connection.exec_driver_sql("UPDATE state SET value = 20300 WHERE key = 'exposures'")
    rig = Rig(place(engine), tmp_path / "live.jsonl")
    with rig.store.read() as connection:
        assert by_id(connection, list(former)) == former
        rids = [each.rid for each in former.values() if each.rid is not None]
        assert len(Finder().by_request(connection, rids)) == len(rids)
    assert rig.queries.stable_quantile("delays", "1", 0.5) == (0.020149, 200)
    field = PredictionField(column="probability")
    assert rig.queries.stable_predictions("delays", "1", field, (0.5,)) == ((0.25,), 100)
    rig.record(*(OutcomeIn(prediction_id=each.rid, name="late", value=1) for each in former.values() if each.rid))
    rig.collect()
    joined = sum(each.rid is not None and each.is_judged for each in former.values())
    assert rig.sums("brier")[0] + rig.sums("brier")[1] == joined
    rig.store.close()


def _former(number: int) -> Exposure:
    """Requests of every shape, by their number."""
    rid = (str(uuid.UUID(int=number)), f"request-{number}", None)[number % 3]
    return Exposure(
        rid=rid, at=START_US + number * 1_000, model="delays", variation="default", audience="everyone",
        rollout=("r1", None)[number % 2], epoch=1, bucket=START_US // 1_000_000, weight=1_000, arm="stable",
        assigned="1", served=("1", "2", None)[number % 3], unit=(None, "u")[number % 2], status=200,
        failed=(0, 1, None)[number % 3], duration=(number, None)[number % 4 == 3 and number % 3 == 2], attempts=1,
        prediction=('{"c":["probability"],"r":[[0.25]]}', '{"n":40,"truncated":true}')[number % 6 == 5],
    )  # fmt: skip


def test_what_was_tallied_before_grows_on(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/telemetry.db")
    first(engine)
    rig = Rig(place(engine), tmp_path / "live.jsonl")
    rig.write(line("a"), line("b", status=500))
    rig.collect()
    errors = [each.tally for each in rig.queries.tallies("r1")[1] if each.metric == "errors"]
    assert sum(errors, Tally()).n == 7
    with rig.store.read() as connection:
        assert connection.scalars(sa.select(schema.exposures.c.id).order_by("id")).all() == [20_001, 20_002]
    rig.store.close()
    engine.dispose()


def test_a_migration_that_is_killed_anywhere_is_done_by_the_next_opener(tmp_path: Path) -> None:
    former = sa.create_engine(f"sqlite:///{tmp_path}/former.db")
    first(former)
    before, statements = all_of(former), 1
    former.dispose()
    while True:
        copy = shutil.copy(tmp_path / "former.db", tmp_path / f"{statements}.db")
        url = f"sqlite:///{copy}"
        engine = sa.create_engine(url)
        try:
            with killed_at(sa.Engine, statements):  # type: ignore[arg-type]
                Store(url)
        except Killed:
            assert all_of(engine) == before
            Store(url).close()
            assert ("version", schema.VERSION) in all_of(engine)["state"]
            statements += 1
            continue
        finally:
            engine.dispose()
        break
    assert statements > 15


def test_a_newer_database_is_refused_and_left_as_it_is(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE state (key TEXT PRIMARY KEY, value BIGINT NOT NULL)")
        connection.exec_driver_sql("INSERT INTO state VALUES ('version', 9999)")
    before = all_of(engine)
    with pytest.raises(
        SluiceError, match=r"schema 9999, which is newer than this sluice knows \(\d+\)\. Fix: upgrade sluice"
    ):
        Store(place(engine))
    assert all_of(engine) == before


def test_who_opens_todays_database_waits_for_no_writer(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/telemetry.db"
    writing = Store(url)
    with writing.write():
        Store(url).close()
    writing.close()


def test_a_table_that_changes_gets_a_new_number_and_a_step() -> None:
    """Else a file that is there would be taken for what it is not."""
    parts = sorted(
        [f"{each.table.name}.{each.name} {each.type} {each.nullable} {each.primary_key}" for each in _columns()]
        + [f"{index.table.name} {index.name} {[each.name for each in index.columns]}" for index in _indexes()]
    )
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]
    assert KNOWN.get(schema.VERSION) == digest, (
        "raise schema.VERSION, add a step to migrations.py, note the digest here"
    )
    assert sorted(KNOWN) == list(range(2, schema.VERSION + 1))


def _columns() -> list[sa.Column[object]]:
    return [column for table in schema.METADATA.sorted_tables for column in table.columns]


def _indexes() -> list[sa.Index]:
    return [index for table in schema.METADATA.sorted_tables for index in table.indexes if index.table is not None]
