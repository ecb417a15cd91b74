"""The collector and its store, on SQLite and on a real PostgreSQL: each row once, whatever the order."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import timedelta

import pytest

from benchmarks.collector_lines import START, START_US, assigned, line
from sluicegate.registry.plan.fields import PredictionField
from sluicegate.registry.words.access_log import Place, UnitSource
from sluicegate.registry.words.errors import SluiceError
from sluicegate.registry.words.metric import REQUESTS, SEVERAL_ROWS, Arm, Stratum
from sluicegate.services.telemetry.outcomes.outcome import OutcomeIn
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.telemetry.store.store import Store
from sluicegate.services.telemetry.tailing.collector import Collector
from sluicegate.services.telemetry.tailing.offsets import OvertakenError
from sluicegate.services.telemetry.tally.spec import RolloutSpec
from tests.contract.telemetry_rig import BUCKET, CANDIDATE, SPEC, Killed, Rig, killed_at


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


def test_requests_outside_of_a_trial_are_judged_by_nobody(rig: Rig) -> None:
    rig.write(
        line("a", assigned=assigned(rollout=None, weight=0)), line("b", assigned=assigned(weight=0)),
        line("c", assigned=assigned("candidate", weight=0)), line("d", assigned=None, route=None),
        line("e", listener="shadow"),
    )  # fmt: skip
    rig.collect()
    assert rig.queries.tallies("r1")[1] == ()
    seen = rig.queries.requests_by_arm("r1")
    assert (seen.stable.requests, seen.candidate.requests) == (1, 1)
    rig.counted(unassigned=1, shadows=1)


def test_after_a_switch_all_requests_are_judged(rig: Rig) -> None:
    everything = assigned("candidate", weight=10_000)
    rig.write(line("a", assigned=everything, upstream="2"), line("b", assigned=everything, status=500))
    rig.collect()
    assert rig.sums("errors", arm="candidate") == (2, 0, 1.0)


def test_a_request_for_a_variation_by_its_name_is_traffic_and_part_of_no_comparison(rig: Rig) -> None:
    """No tally, no sample ratio, no latency, no end; its outcome joins, and a unit's outcome is not taken by it."""
    by_name = Place(model="delays", audience=None, unit_source=UnitSource.NAME).mark
    late = {"ts": str(START_US + 50_000_000)}
    own = {"route": by_name, "assigned": assigned(rollout=None, epoch=0, weight=0), "unit": None, **late}
    rig.write(line("a", unit="u", **late), line("b", **own), line("c", status=500, **own))
    rig.record(
        OutcomeIn(prediction_id="b.0", name="spend", value=7, at=rig.now),
        OutcomeIn(model="delays", unit="u", name="spend", value=3, at=rig.now),
    )
    rig.now += timedelta(seconds=10)
    rig.collect()
    assert (rig.sums("errors"), rig.sums("p99"), rig.sums("spend")) == ((1, 0, 0.0), (1, 0, 0.0), (1, 0, 3.0))
    assert rig.queries.requests_by_arm("r1").stable.requests == 1
    assert rig.queries.latencies(["r1"])["r1"][Arm.STABLE].requests == 1
    (recent,) = rig.queries.recent(["delays"])["delays"]
    assert (recent.variation, recent.error_share) == ("default", pytest.approx(1 / 3))
    assert {key[0] for key in rig.queries.shares(["delays"])["delays"]} == {"everyone"}
    assert len(rig.queries.history("delays", "1")) == 1, "what thresholds and effects are frozen from"
    predictions = rig.queries.stable_predictions("delays", "1", PredictionField(column="probability"), (0.5,))
    assert predictions == ((0.25,), 1)
    rig.counted(by_name=2, outcomes=2, joined=2, scored=1, uncompared=1)


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
    assert {row.metric for row in rig.queries.tallies("r1")[1]} == {REQUESTS}
    rig.specs["r1"] = SPEC
    rig.now += timedelta(seconds=2)
    rig.collect()
    assert (rig.sums("errors"), rig.sums("errors", "candidate")) == ((1, 0, 0.0), (1, 0, 1.0))
    assert rig.sums("brier") == (1, 0, pytest.approx(0.5625))
    rig.collect()
    assert rig.sums("errors") == (1, 0, 0.0)
    rig.counted(outcomes=1, joined=1, scored=2)


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
        if line("c") not in rig.log.read_text():
            rig.write(line("c"))
        rig.now = START + timedelta(hours=5)
        rig.collect()
        assert (rig.sums("errors"), rig.sums("errors", "candidate")) == ((2, 0, 0.0), (1, 0, 0.0)), statement
        assert (rig.sums("slow"), rig.sums("slow", "candidate")) == ((1, 0, 1.0), (1, 0, 1.0)), statement
        rig.counted(outcomes=2, joined=2, scored=4, quarantined=1)
    assert statement > 30


def test_requests_are_told_of_and_labels_of_several_rows_too(rig: Rig) -> None:
    rig.write(line("a", prediction='{"n":2,"rows":[[0.2],[0.4]]}'), line("b", **CANDIDATE))
    rig.record(OutcomeIn(prediction_id="b", name="late", value=1))
    rig.collect()
    assert rig.sums(REQUESTS) == rig.sums(REQUESTS, "candidate") == (1, 0, 0.0)
    assert rig.sums(SEVERAL_ROWS) == (0, 0, 0.0)
    rig.record(OutcomeIn(prediction_id="a.1", name="late", value=1))
    rig.collect()
    assert rig.sums(SEVERAL_ROWS) == (1, 0, 1.0)
