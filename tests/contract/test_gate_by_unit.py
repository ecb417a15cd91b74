"""From access log to verdict where users return: what the collector tallies by unit is what the gate judges."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sluicegate.flows.gate import judge as gate
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.verdict import Answer
from tests.contract.telemetry_rig import SPEC, Rig
from tests.contract.test_telemetry_units import of_unit

PLAN = Plan.model_validate(
    {
        "model": "m", "unit": "x-user-id", "steps": [{"weight": 10}], "metrics": {"errors": {"source": "status"}},
        "guardrails": [{"metric": "errors", "alpha": 0.05}],
    }
)  # fmt: skip


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    spec = dataclasses.replace(SPEC, by_unit=True)
    rig = Rig(f"sqlite:///{tmp_path}/telemetry.db", tmp_path / "live.jsonl", {"r1": spec})
    yield rig
    rig.store.close()


@pytest.mark.parametrize(
    ("failing", "answer"), [(range(1), Answer.UNDECIDED), (range(0, 30, 2), Answer.FAIL)], ids=["one user", "half"]
)
def test_one_loud_user_stops_nothing_and_many_do(rig: Rig, failing: range, answer: Answer) -> None:
    """270 users of stable and 30 of the candidate come four times each; some of the candidate's always fail."""
    for second in range(0, 400, 100):
        rig.write(*(of_unit(f"s{user}", second) for user in range(270)))
        rig.write(
            *(
                of_unit(f"c{user}", second, arm="candidate", status=500 if user in failing else 200)
                for user in range(30)
            )
        )
        rig.collect()
    look = gate.next_look(
        rollout="r1", plan=PLAN, gate=PLAN.guardrails[0], guardrail=True, step=0, looks=(),
        rows=rig.queries.tallies("r1")[1], watermark=0, at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    assert look is not None
    assert look.verdict.answer is answer
    assert "judged by unit: 270 of stable, 30 of the candidate" in look.verdict.details
