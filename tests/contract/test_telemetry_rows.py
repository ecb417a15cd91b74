"""Requests are kept only for what may still be joined, in few bytes; what is not kept is counted all the same."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from benchmarks.collector_lines import START, START_US, assigned, line, traffic, written
from sluicegate.registry.plan.fields import PredictionField, Source
from sluicegate.registry.words.access_log import Place, UnitSource
from sluicegate.services.telemetry.outcomes.outcome import OutcomeIn, State
from sluicegate.services.telemetry.outcomes.retention import retain
from sluicegate.services.telemetry.reading.queries import Queries
from sluicegate.services.telemetry.store import row_numbers, schema
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.telemetry.store.segments import Finder
from sluicegate.services.telemetry.tailing.collector import Collector
from tests.contract.telemetry_rig import CANDIDATE, SPEC, Rig

WITHOUT_OUTCOMES = replace(
    SPEC, metrics={name: each for name, each in SPEC.metrics.items() if each.source is not Source.OUTCOME}
)
OTHERS = Place(model="others", audience="everyone", unit_source=UnitSource.HEADER).mark
NO_ROLLOUT = {"assigned": assigned(rollout=None, epoch=0, weight=0)}


class KeepingRig(Rig):
    """A rig that keeps what is asked for, and nothing else."""

    def __init__(self, url: str, log: Path) -> None:
        self.asking: set[str] = set()
        super().__init__(url, log, {"r1": WITHOUT_OUTCOMES})

    def start(self) -> None:
        asks = self.asking.__contains__
        self.collector = Collector(self.store, self.log, lambda each: self.specs.get(each), lambda: self.now, asks=asks)

    def rows(self, table: sa.Table) -> int:
        with self.store.read() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0

    def states(self) -> dict[str, State]:
        with self.store.read() as connection:
            return {each.rid or each.unit: State(each.state) for each in connection.execute(sa.select(schema.outcomes))}


@pytest.fixture
def rig(url: str, tmp_path: Path) -> Iterator[KeepingRig]:
    rig = KeepingRig(url.replace("postgresql://", "postgresql+psycopg://"), tmp_path / "live.jsonl")
    yield rig
    rig.store.close()


@pytest.fixture
def _small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_numbers, "BITS", 6)


def told(queries: Queries) -> list[object]:
    """All that a report, a page and a threshold are made of."""
    field = PredictionField(column="probability")
    return [
        queries.tallies("r1")[1], queries.requests_by_arm("r1"), queries.latencies(["r1"])["r1"],
        queries.coverage("r1", "brier"),
        queries.stable_quantile("delays", "1", 0.99), queries.stable_predictions("delays", "1", field, (0.5, 0.9)),
        queries.recent(["delays"])["delays"], queries.shares(["delays"])["delays"], queries.counters(),
    ]  # fmt: skip


def test_without_outcomes_nothing_is_kept_and_everything_is_counted(rig: KeepingRig) -> None:
    log = [line(f"q{n}", unit=f"u{n}", dur_us=n, **(CANDIDATE if n % 10 == 0 else {})) for n in range(1, 200)]
    rig.write(*log)
    rig.collect()
    assert rig.rows(schema.exposures) == rig.rows(schema.kinds) == rig.rows(schema.segments) == 0
    left_out = told(rig.queries)
    rig.counted(left_out=199)
    rig.clear()
    rig.asking.add("delays")
    rig.write(*log)
    rig.collect()
    assert rig.rows(schema.exposures) == 199
    assert told(rig.queries)[:-1] == left_out[:-1]


def test_a_reports_figures_do_not_need_the_rows(rig: KeepingRig) -> None:
    rig.specs["r1"] = SPEC
    rig.write(*(line(f"q{n}", dur_us=9_000 + n, **(CANDIDATE if n % 5 == 0 else {})) for n in range(100)))
    rig.record(*(OutcomeIn(prediction_id=f"q{n}", name="late", value=n % 2) for n in range(60)))
    rig.collect()
    before = told(rig.queries)
    with rig.store.write() as connection:
        for table in (schema.exposures, schema.kinds, schema.segments, schema.segment_kinds, schema.lookups):
            connection.execute(sa.delete(table).where(sa.true()))
    assert told(rig.queries) == before


def test_a_rollout_with_outcomes_keeps_its_requests_from_the_first(rig: KeepingRig) -> None:
    """A rollout that starts where another ended: the rows of the one are kept, those of the other were not."""
    rig.specs["r2"] = replace(SPEC, rollout="r2")
    rig.write(line("of-r1"), line("of-r2", assigned=assigned(rollout="r2")), line("of-none", **NO_ROLLOUT))
    rig.record(*(OutcomeIn(prediction_id=f"of-{each}", name="late", value=1) for each in ("r1", "r2", "none")))
    rig.collect()
    assert rig.states() == {"of-r1": State.UNASKED, "of-r2": State.SCORED, "of-none": State.UNASKED}
    rig.counted(outcomes=3, joined=1, scored=2, unasked=2, left_out=2)


def test_a_rollout_that_is_not_known_yet_may_ask(rig: KeepingRig) -> None:
    del rig.specs["r1"]
    rig.write(line("a"))
    rig.collect()
    rig.specs["r1"] = SPEC
    rig.record(OutcomeIn(prediction_id="a", name="late", value=1))
    rig.collect()
    assert rig.sums("brier")[0] == 1
    assert rig.sums("errors") == (1, 0, 0.0)


def test_an_outcome_of_a_request_that_was_not_kept_is_told_so_however_it_comes(rig: KeepingRig) -> None:
    rig.write(line("a", unit="u"))
    rig.collect()
    receipt = rig.record(
        OutcomeIn(prediction_id="a", name="late", value=1), OutcomeIn(model="delays", unit="u", name="late", value=1),
        OutcomeIn(model="others", unit="v", name="late", value=1),
    )  # fmt: skip
    assert (receipt.accepted, receipt.unasked) == (3, ("delays",))
    rig.now += timedelta(seconds=10)
    rig.collect()
    assert rig.states() == {"a": State.WAITING, "u": State.UNASKED, "v": State.UNKNOWN}
    rig.now += timedelta(hours=2)
    rig.collect()
    assert rig.states()["a"] is State.UNASKED
    rig.counted(outcomes=3, unasked=2, unknown=1, left_out=1)


def test_a_plan_that_begins_to_ask_has_the_requests_from_then_on(rig: KeepingRig) -> None:
    rig.write(line("early", unit="u", **NO_ROLLOUT))
    rig.collect()
    rig.asking.add("delays")
    rig.write(line("later", unit="v", **NO_ROLLOUT), line("theirs", route=OTHERS, **NO_ROLLOUT))
    rig.collect()
    for rid in ("early", "later", "theirs"):
        rig.record(OutcomeIn(prediction_id=rid, name="late", value=1, model="delays" if rid != "theirs" else "others"))
    rig.collect()
    rig.now += timedelta(hours=2)
    rig.collect()
    assert rig.states() == {"early": State.UNASKED, "later": State.UNCOMPARED, "theirs": State.UNASKED}


@pytest.mark.usefixtures("_small_segments")
def test_requests_are_found_in_every_segment_by_id_and_by_unit(rig: KeepingRig) -> None:
    """Full segments, the newest, and one that a restart went on with; ids that are UUIDs and such that are not."""
    rig.asking.add("delays")
    ids = [each["rid"] for each in traffic(150)]
    ids += [f"request-{n}" for n in range(50)] + ["sixteen-letters-", str(uuid.UUID(int=7)).upper(), "ü" * 8]
    for n, rid in enumerate(ids):
        rig.write(line(str(rid), unit=f"u{n % 70}", ts=str(START_US + n)))
        if n % 23 == 0:
            rig.collect()
            rig.start()
    rig.collect()
    assert rig.rows(schema.lookups) > 0 or not rig.store.is_sqlite
    with rig.store.read() as connection:
        sealed = connection.execute(sa.select(schema.segments.c.sealed).order_by("segment")).scalars().all()
        found = Finder().by_request(connection, [*map(str, ids), "nobody"])
        assert {rid: each.rid for rid, (_, each) in found.items()} == {str(rid): str(rid) for rid in ids}
        if rig.store.is_sqlite:
            assert sealed == [1, 1, 1, 0]
        else:  # each restart left one behind
            assert len(sealed) == 10
        for n in range(70):
            number, last = Finder().last_of_unit(connection, "delays", f"u{n}", START_US + 10**6) or (0, None)
            newest = max(at for at in range(len(ids)) if at % 70 == n)
            assert last is not None
            assert (last.rid, last.unit) == (ids[newest], f"u{n}")
            assert not rig.store.is_sqlite or number == newest + 1
        assert Finder().last_of_unit(connection, "others", "u1", START_US + 10**6) is None


@pytest.mark.usefixtures("_small_segments")
def test_what_goes_by_age_goes_whole(tmp_path: Path) -> None:
    """In SQLite; in PostgreSQL days go whole, see `test_telemetry_days`."""
    rig = KeepingRig(f"sqlite:///{tmp_path}/telemetry.db", tmp_path / "live.jsonl")
    rig.asking |= {"delays", "others"}
    for n in range(300):
        route = {"route": OTHERS} if n % 3 == 0 else {}
        rig.write(line(f"q{n}", unit=f"u{n}", ts=str(START_US + n * 1_000_000), **route))
    rig.collect()
    removed = retain(rig.store, START, rig.now, {"others": START + timedelta(seconds=200)})
    assert removed.exposures == 67
    with rig.store.read() as connection:
        found = Finder().by_request(connection, [f"q{n}" for n in range(300)])
    assert set(found) == {f"q{n}" for n in range(300) if n % 3 or n >= 200}
    with rig.store.read() as connection:
        having, kinds = schema.segment_kinds, schema.kinds
        theirs = sa.select(having.c.segment).join(kinds, kinds.c.kind == having.c.kind).where(kinds.c.model == "others")
        assert set(connection.scalars(theirs)) == {3, 4}
    assert retain(rig.store, START + timedelta(seconds=150), rig.now).exposures == 100
    retain(rig.store, START + timedelta(hours=1), rig.now + timedelta(hours=1))
    for table in (
        schema.exposures,
        schema.kinds,
        schema.segments,
        schema.segment_kinds,
        schema.lookups,
        schema.samples,
    ):
        assert rig.rows(table) == 0, table.name
    rig.write(line("next", unit="u", ts=str(START_US + 7_200_000_000)))
    rig.collect()
    with rig.store.read() as connection:
        assert set(Finder().by_request(connection, ["next", "q1"])) == {"next"}


def test_what_thresholds_are_frozen_from_is_the_newest_and_no_more(rig: KeepingRig) -> None:
    for start in range(0, 12_000, 1_000):
        rig.write(*(line(f"q{n}", dur_us=n, unit=None) for n in range(start, start + 1_000)))
        rig.collect()
    assert rig.queries.history("delays", "1")[:2] == (0.011999, 0.011998)
    assert rig.queries.stable_quantile("delays", "1", 0.5) == (0.009499, 5_000)
    assert rig.rows(schema.samples) == 5


def test_a_request_takes_at_most_a_hundred_bytes(tmp_path: Path) -> None:
    """By the growth of the file; what is fixed in it does not grow."""
    rig = Rig(f"sqlite:///{tmp_path}/telemetry.db", tmp_path / "live.jsonl")
    sizes = []
    rows = list(traffic(60_000))
    for part in (rows[:20_000], rows[20_000:]):
        rig.write(*(written(each) for each in part))
        rig.collect()
        with rig.store.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        sizes.append((tmp_path / "telemetry.db").stat().st_size)
    assert rig.queries.counters()[Count.EXPOSURES] == 60_000
    rig.store.close()
    assert (sizes[1] - sizes[0]) / 40_000 < 100
