"""Declared caps: values beyond one count as it, and how many is tallied beside them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.collector_lines import line
from sluicegate.registry.plan.fields import MetricSpec, Source
from sluicegate.registry.words.metric import capped_name
from sluicegate.services.telemetry.outcomes.outcome import OutcomeIn
from sluicegate.services.telemetry.tally.spec import RolloutSpec
from tests.contract.telemetry_rig import CANDIDATE, Rig

CAPPED = RolloutSpec(
    rollout="r1",
    metrics={
        "mean": MetricSpec(source=Source.LATENCY, cap=0.02),
        "spend": MetricSpec(source=Source.OUTCOME, outcome="spend", cap=50),
    },
)


@pytest.fixture(params=[False, True], ids=["by row", "by unit"])
def rig(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Rig]:
    spec = dataclasses.replace(CAPPED, by_unit=request.param)
    rig = Rig(f"sqlite:///{tmp_path}/telemetry.db", tmp_path / "live.jsonl", {"r1": spec})
    yield rig
    rig.store.close()


def test_durations_and_outcomes_beyond_their_cap_count_as_it_and_are_counted(rig: Rig) -> None:
    rig.write(line("a", dur_us=10_000), line("b", dur_us=500_000), line("c", **CANDIDATE, dur_us=20_000))
    rig.collect()
    assert rig.sums("mean") == (2, 0, pytest.approx(0.03))
    assert rig.sums(capped_name("mean")) == (2, 0, 1.0)
    assert rig.sums(capped_name("mean"), "candidate") == (1, 0, 0.0)
    rig.record(
        OutcomeIn(prediction_id="a", name="spend", value=7), OutcomeIn(prediction_id="b", name="spend", value=-900),
        OutcomeIn(prediction_id="c", name="spend", value=None),
    )  # fmt: skip
    rig.collect()
    assert rig.sums("spend") == (2, 0, -43.0)
    assert rig.sums(capped_name("spend")) == (2, 0, 1.0)
    assert rig.sums("spend", "candidate") == (0, 1, 0.0)
    assert rig.sums(capped_name("spend"), "candidate") == (0, 0, 0.0)
    rig.counted(outcomes=3, joined=3, scored=3, missing=1)
