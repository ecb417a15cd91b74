"""What others read of the telemetry, and what is left of it when requests have gone by age; on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from benchmarks.collector_lines import START, START_US, assigned, line
from sluicegate.services.telemetry.outcomes.outcome import OutcomeIn
from sluicegate.services.telemetry.outcomes.retention import retain
from tests.contract.telemetry_rig import CANDIDATE, Rig


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
    seen = rig.queries.requests_by_arm("r1", 1)
    assert seen.share == pytest.approx(2 / 3)
    assert (seen.candidate.abandoned, seen.candidate.failed, seen.candidate.fallbacks) == (1, 1, 1)
    assert rig.sums("errors", "candidate") == (2, 0, 2.0)
    rig.now = START + timedelta(seconds=25)
    stable = next(recent for recent in rig.queries.recent(["delays"])["delays"] if recent.build == "1")
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
    whole_days = not rig.store.is_sqlite
    assert (removed.exposures, removed.outcomes) == (0 if whole_days else 1, 0)
    assert rig.sums("errors") == (2, 0, 0.0)
    rig.now = START + timedelta(hours=3)
    rig.collect()
    assert rig.sums("slow") == (1, 0, 7.0)
    rig.record(OutcomeIn(prediction_id="b", name="late", value=7))
    rig.collect()
    assert rig.sums("slow") == (1, 0, 7.0)
    assert retain(rig.store, rig.now, rig.now).outcomes == 2


def test_the_pulse_of_a_model_has_whole_minutes_of_all_its_builds(rig: Rig) -> None:
    minute = START_US // 60_000_000
    begin = 60_000_000 * (minute + 1)
    rig.write(*(line(f"n{i}", ts=str(begin + i * 1_000_000)) for i in range(3)))
    rig.write(line("f", ts=str(begin + 59_000_000), status=500, **CANDIDATE), line("now", ts=str(begin + 61_000_000)))
    rig.now = datetime.fromtimestamp((begin + 62_000_000) / 1e6, UTC)
    rig.collect()
    told = rig.queries.pulses(["delays"])["delays"]
    assert (told.requests[-2:], told.failed[-2:]) == ((0, 4), (0, 1)), "the minute under way is not among them"
    assert rig.queries.pulses(["other"])["other"].is_quiet
