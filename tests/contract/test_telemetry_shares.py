"""Queries.shares: who got what in the last minute, by audience."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from benchmarks.collector_lines import START_US, assigned, line
from sluicegate.registry.words.access_log import Place, UnitSource
from tests.contract.telemetry_rig import Rig


def test_requests_of_the_last_minute_are_counted_by_audience_variation_build_and_arm(tmp_path: Path) -> None:
    rig = Rig(f"sqlite:///{tmp_path}/telemetry.db", tmp_path / "live.jsonl")
    rig.log.write_text("")
    ny = Place(model="delays", audience="ny", unit_source=UnitSource.HEADER).mark
    old = str(START_US - 120_000_000)
    rig.write(
        line("1"), line("2"), line("3", route=ny, assigned=assigned("candidate")), line("4", ts=old),
        line("5", assigned=None, upstream=None, status=404),
    )  # fmt: skip
    rig.collect()
    rig.now -= timedelta(seconds=30)
    assert rig.queries.shares(["delays"])["delays"] == {
        ("everyone", "default", "1", "stable"): 2, ("ny", "default", "2", "candidate"): 1,
    }  # fmt: skip
    assert rig.queries.shares(["other"])["other"] == {}
    rig.now += timedelta(minutes=5)
    assert rig.queries.shares(["delays"])["delays"] == {}
    rig.store.close()
