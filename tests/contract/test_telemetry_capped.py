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


OPEN = RolloutSpec(rollout="r1", metrics={"spend": MetricSpec(source=Source.OUTCOME, outcome="spend")})


def test_values_are_compared_from_when_their_cap_is_frozen_and_those_it_was_frozen_from_are_not(rig: Rig) -> None:
    rig.specs["r1"] = OPEN
    rig.write(*(line(f"s{n}") for n in range(10)), *(line(f"c{n}", **CANDIDATE) for n in range(10)))
    rig.record(*(OutcomeIn(prediction_id=f"{arm}{n}", name="spend", value=-n) for n in range(5) for arm in "sc"))
    rig.collect()
    assert rig.sums("spend") == rig.sums("spend", "candidate") == (0, 0, 0.0)
    rig.counted(outcomes=10, joined=10, uncompared=10)
    assert frozen(rig, "1") == (4.0, 5), "the sizes of stable's own"
    rig.specs["r1"] = dataclasses.replace(OPEN, metrics={"spend": OPEN.metrics["spend"].model_copy(update={"cap": 4})})
    rig.record(*(OutcomeIn(prediction_id=f"{arm}{n}", name="spend", value=n) for n in range(5, 10) for arm in "sc"))
    rig.collect()
    assert rig.sums("spend") == rig.sums("spend", "candidate") == (5, 0, 20.0)
    assert rig.sums(capped_name("spend")) == (5, 0, 5.0)


def test_a_cap_is_a_quantile_of_what_is_known_of_one_build(rig: Rig) -> None:
    rig.write(*(line(f"s{n}") for n in range(100)), line("other", upstream="9"))
    rig.record(*(OutcomeIn(prediction_id=f"s{n}", name="spend", value=max(n - 97, 0)) for n in range(100)))
    rig.record(
        OutcomeIn(prediction_id="other", name="spend", value=1_000),
        OutcomeIn(prediction_id="far", name="spend", value=1),
    )
    rig.collect()
    assert frozen(rig, "1") == (2.0, 100)
    assert frozen(rig, "1", q=0.99) == (1.0, 100)
    assert frozen(rig, "1", q=0.5) == (2.0, 100), "0 is no cap"
    assert frozen(rig, "1", limit=50, q=0.5) == (2.0, 50)
    assert frozen(rig, "7") is None
    rig.clear()
    rig.write(line("a"))
    rig.record(OutcomeIn(prediction_id="a", name="spend", value=0))
    rig.collect()
    assert frozen(rig, "1") is None, "of zeros alone there is no cap"


def frozen(rig: Rig, version: str, *, q: float = 0.999, limit: int = 5_000) -> tuple[float, int] | None:
    return rig.queries.stable_size("delays", version, "spend", OPEN.metrics["spend"], q, limit)
