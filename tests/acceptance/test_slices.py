"""From headers in the gateway's log to an aborted rollout: harm in one state of twenty, while the whole is better."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic_core import to_jsonable_python

from benchmarks.collector_lines import START_US, assigned, line
from sluicegate.flows.cli.tree import tree
from sluicegate.registry.ledger.reading import read_for_report
from sluicegate.registry.report.explanation import explanation
from sluicegate.registry.report.report import Evidence, Report, rollout_report
from sluicegate.registry.rollout.rollout import Ending
from sluicegate.services.report.markdown import markdown
from sluicegate.services.report.page import page
from tests.acceptance.test_predictions import Scene

PLAN = {
    "model": "delays", "metrics": {"errors": {"source": "status"}},
    "guardrails": [{"metric": "errors", "slices": ["x-state"], "alpha": 0.02}],
    "steps": [{"weight": 20, "approval": True}], "expect": {"requests_per_day": 20000},
}  # fmt: skip
NASTY = "<b>[red]x</b>"


class States(Scene):
    """Callers of twenty states, one of which the candidate fails."""

    def state(self, rates: dict[str, float], requests: int) -> None:
        """Requests; stable fails one in ten anywhere, the candidate as often as `rates` say, else one in twenty."""
        where = {"rollout": self.name, "epoch": self.rollout.epoch, "weight": self.rollout.weight}
        for _ in range(requests):
            self.count += 1
            is_candidate = self.chance.random() < self.rollout.weight / 10_000
            state = self.chance.choice([*(f"S{number}" for number in range(19)), NASTY])
            rate = rates.get(state, 0.05) if is_candidate else 0.1
            self.rig.write(
                line(
                    f"q{self.count}", ts=str(START_US + self.count * 1_000), segments=[state, None, None, None],
                    assigned=assigned("candidate" if is_candidate else "stable", **where),
                    upstream="2" if is_candidate else "1", status=500 if self.chance.random() < rate else 200,
                )
            )  # fmt: skip
        self.rig.collect()

    def rolls_through(self, rates: dict[str, float]) -> States:
        """Serve until it ends or 4,000 requests were served."""
        self.ticks()
        for _ in range(20):
            self.serves()
            self.state(rates, 200)
            self.ticks()
            if self.rollout.ending is not None:
                break
        return self

    @property
    def report(self) -> Report:
        return rollout_report(read_for_report(self.ledger, self.rollout), self.rig.now, Evidence())


@pytest.fixture
def states(tmp_path: Path) -> Iterator[States]:
    scene = States(tmp_path, PLAN)
    scene.chance = random.Random(7)
    yield scene
    scene.rig.store.close()


def test_harm_in_one_state_stops_a_candidate_that_is_better_everywhere_else(states: States) -> None:
    rollout = states.rolls_through({NASTY: 0.8}).rollout
    assert rollout.ending is Ending.ABORTED
    assert rollout.reason.startswith(f"errors failed: errors of x-state={NASTY} are ")
    assert rollout.weight == 0


def test_everywhere_that_tells_evidence_tells_the_worst_slices_and_believes_no_callers_text(states: States) -> None:
    report = states.rolls_through({NASTY: 0.8}).report
    (gate,) = report.gates
    worst = gate.view.slices[0]
    assert (worst.header, worst.value, worst.has_failed) == ("x-state", NASTY, True)
    assert len(gate.view.slices) == 5
    assert str(worst) in explanation(report).gates[0].interval
    assert "Where errors look worst:" in markdown(report)
    shown = page(report)
    assert "&lt;b&gt;[red]x&lt;/b&gt;" in shown
    assert "<b>[red]x" not in shown
    view = json.loads(json.dumps(to_jsonable_python(report.rollout)))
    assert f"|     {worst}" in tree(view).splitlines()


def test_an_equal_candidate_goes_on(states: States) -> None:
    everywhere = dict.fromkeys([*(f"S{number}" for number in range(19)), NASTY], 0.1)
    assert states.rolls_through(everywhere).rollout.ending is None
    assert states.rollout.judgements["errors"].answer == "undecided"
