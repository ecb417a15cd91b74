"""Generated requests count in what a request tells by itself, for the arm that answered, and nowhere else."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import sqlalchemy as sa

from benchmarks.collector_lines import assigned, line
from sluicegate.registry.plan.fields import MetricSpec, PredictionField, Source
from sluicegate.registry.words.access_log import parse
from sluicegate.registry.words.metric import Arm
from sluicegate.services.telemetry.outcomes.outcome import OutcomeIn
from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.telemetry.tailing.generated import GeneratedCollector
from tests.contract.telemetry_rig import SPEC, Rig

DRIFT = MetricSpec(source=Source.PREDICTION, prediction=PredictionField(column="probability"))
ASKS = dataclasses.replace(
    SPEC, generates=True, by_unit=True,
    metrics={**SPEC.metrics, "contract": MetricSpec(source=Source.CONTRACT), "drift": DRIFT},
    sliced={"errors": ((0, "x-state"),)},
)  # fmt: skip
COUNTED = {"tallies", "unit_sums", "generated"}
KEPT_ANYWAY = {"offsets", "logs", "counters", "state"}


class Two:
    """Both collectors of one store, each with its log."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.log = rig, rig.log.with_name("generated.jsonl")
        self.specs = {"r1": ASKS}
        rig.specs = self.specs
        rig.start()
        self.generated = GeneratedCollector(rig.store, self.log, self.specs.get, lambda: rig.now)

    def write(self, *lines: str) -> None:
        with self.log.open("a") as file:
            file.writelines(lines)
        self.collect()

    def collect(self) -> None:
        while self.generated.collect():
            pass
        self.rig.collect()

    def rows(self) -> dict[str, int]:
        """Tables that hold something."""
        with self.rig.store.read() as connection:
            sizes = {
                table.name: connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
                for table in schema.METADATA.sorted_tables
            }
        return {name: n for name, n in sizes.items() if n}


@pytest.fixture
def two(rig: Rig) -> Two:
    return Two(rig)


def sent(rid: str, arm: str = "stable", **changes: object) -> str:
    upstream = "2" if arm == "candidate" else "1"
    fields = {"listener": "generated", "unit": None, "segments": ["CA"]}
    return line(rid, **{**fields, "assigned": assigned(arm), "upstream": upstream, **changes})


def test_they_count_for_the_arm_that_answered_and_in_no_other_table(two: Two) -> None:
    two.write(sent("g1"), sent("g2", status=500), sent("g3", "candidate", dur_us=20_000), sent("g4", "candidate"))
    assert two.rig.sums("errors") == (2, 0, 1.0)
    assert two.rig.sums("errors", "candidate") == (2, 0, 0.0)
    assert two.rig.sums("mean", "candidate")[0] == two.rig.sums("contract", "candidate")[0] == 2
    assert {row.metric for row in two.rig.queries.tallies("r1")[1]} <= {
        "errors", "mean", "contract", *(m for m, _ in ASKS.measures.limits),
    }  # fmt: skip
    assert two.rig.queries.generated(["r1"])["r1"] == {Arm.STABLE: 2, Arm.CANDIDATE: 2}
    assert two.rows().keys() - KEPT_ANYWAY == COUNTED
    assert two.rig.queries.counters()[Count.GENERATED] == 4
    assert two.rig.queries.counters()[Count.EXPOSURES] == 0
    assert two.rig.queries.requests_by_arm("r1").candidate.requests == two.rig.queries.progress("r1", 1) == 0


def test_gates_by_unit_get_them_as_units_of_their_own(two: Two) -> None:
    two.write(sent("g1", unit="ada"), sent("g2", unit="ada", status=500))
    row = two.rig.tally("errors")
    assert row is not None
    assert row.units is not None
    assert (row.units.size, row.units.n) == (2, 2)
    assert "units" not in two.rows()


def test_an_outcome_for_one_of_them_joins_nothing(two: Two) -> None:
    two.write(sent("g1"))
    two.rig.write(line("c1"))
    two.rig.record(
        OutcomeIn(name="late", value=True, prediction_id="g1"), OutcomeIn(name="late", value=True, prediction_id="c1")
    )
    two.collect()
    assert two.rig.sums("brier") == (1, 0, 0.5625)
    assert two.rig.queries.counters()[Count.JOINED] == 1
    assert two.rig.sums("errors")[0] == 2


def test_a_rollout_that_asked_for_none_gets_none(two: Two) -> None:
    two.specs["r1"] = SPEC
    two.write(sent("g1"), sent("g2", assigned=assigned(rollout="r9")), sent("g3", assigned=assigned(rollout=None)))
    assert two.rows().keys() <= KEPT_ANYWAY
    assert two.rig.queries.counters()[Count.GENERATED] == 3


def test_lines_are_counted_once_across_a_restart(two: Two, tmp_path: Path) -> None:
    two.write(sent("g1"), "not a line\n")
    two.generated = GeneratedCollector(two.rig.store, two.log, two.specs.get, lambda: two.rig.now)
    two.write(sent("g2", "candidate"))
    assert two.rig.queries.generated(["r1"])["r1"] == {Arm.STABLE: 1, Arm.CANDIDATE: 1}
    assert two.rig.queries.counters()[Count.QUARANTINED] == 1


def test_no_text_of_a_caller_makes_his_copy_one_of_them() -> None:
    assert parse(line("c1", listener="shadow", generated="1")).is_generated
    for text in ('"generated":"1"', '\\"generated":"1"', '","generated":"1', ',["shadow","1"'):
        assert not parse(line("c1", listener="shadow", generated=None, path=text, unit=text)).is_generated
