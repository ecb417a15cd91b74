"""Overview: each audience's variations and builds, asked beside seen, with the verdict and since when."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from sluicegate.flows.views.overview import overview
from sluicegate.registry.report.overview import Served, verdict_of
from sluicegate.registry.rollout.facts import Judged, StepEntered
from sluicegate.services.telemetry.reading.queries import Recent
from tests.acceptance.given import PLAN, Given
from tests.acceptance.test_three_audiences import World
from tests.acceptance.three_audiences import MODEL
from tests.doubles.ledger import MemoryLedger
from tests.experiment_lab import Lab, plan


@dataclass
class LastMinute:
    """What telemetry told of the last minute."""

    found: tuple[Recent, ...] = ()
    counts: dict[tuple[str, str, str, str], int] = field(default_factory=dict)

    def recent(self, models: Collection[str]) -> dict[str, tuple[Recent, ...]]:
        return dict.fromkeys(models, self.found)

    def shares(self, models: Collection[str]) -> dict[str, dict[tuple[str, str, str, str], int]]:
        return dict.fromkeys(models, self.counts)


BUSY = Recent(variation="ny", build="5", requests_per_second=2.5, error_share=0.01, p50=0.1, p95=0.2, p99=0.3)
LATER = timedelta(minutes=2)
"""When the last minute no longer saw an earlier split."""


def rows(ledger: MemoryLedger, told: LastMinute, now: datetime) -> dict[tuple[str, str], Served]:
    """The overview by audience and build."""
    return {(row.audience, row.build): row for row in overview(ledger, told, [MODEL], now)}


def test_every_audience_is_there_in_order_with_what_is_asked_and_what_was_seen() -> None:
    world = World().started()
    told = LastMinute(
        found=(BUSY,),
        counts={("ny", "ny", "5", "candidate"): 30, ("ny", "ny", "2", "stable"): 70, ("ca", "ca", "3", "stable"): 5},
    )
    world.three.drive(world.now)
    world.look(2)
    found = rows(world.ledger, told, world.now + LATER)
    assert list(dict.fromkeys(audience for audience, _ in found)) == ["ny", "ca", "tx", "default"]
    assert set(found) == {
        ("ny", "2"), ("ny", "5"), ("ca", "3"), ("ca", "6"), ("tx", "4"), ("tx", "7"), ("default", "1"),
    }  # fmt: skip
    tried = found["ny", "5"]
    assert (tried.arm, tried.desired, tried.observed, tried.rollout) == (
        "candidate",
        20,
        30,
        world.three.rollouts["ny"],
    )
    assert (tried.requests_per_second, tried.error_rate, tried.p95) == (2.5, 1.0, 200.0)
    assert tried.since == world.three.rollout("ny").step_entered_at
    assert (found["ca", "6"].observed, found["tx", "7"].observed) == (0, None), (
        "seen to be nothing, and not seen at all"
    )
    assert found["default", "1"].desired == 100
    assert (found["ca", "3"].taken, found["default", "1"].taken) == (pytest.approx(100 * 5 / 105), 0)


def test_a_split_younger_than_the_last_minute_has_no_observed_shares_yet() -> None:
    world = World().started()
    world.three.drive(world.now)
    world.look(2)
    counts = {("ny", "ny", "5", "candidate"): 1, ("ny", "ny", "2", "stable"): 99}
    began = world.three.rollout("ny").step_entered_at
    assert began is not None
    for age, seen in ((30, None), (69, None), (70, 1)):
        told = LastMinute(found=(BUSY,), counts=counts)
        found = rows(world.ledger, told, began + timedelta(seconds=age))
        assert (found["ny", "5"].observed, found["ny", "2"].observed) == (seen, None if seen is None else 99)
    told = LastMinute(found=(BUSY,), counts=counts | {("ny", "ny", "4", "candidate"): 50})
    assert rows(world.ledger, told, world.now + LATER)["ny", "2"].observed is None, "a build that has no share any more"


def test_each_build_says_where_the_time_goes_in_its_service() -> None:
    world = World().started()
    world.three.drive(world.now)
    world.look(2)
    spent = {"5": {"reader": 0.1, "model": 4.0, "writer": 0.1, "server": 0.3}}
    found = overview(world.ledger, LastMinute(), [MODEL], world.now, lambda build: spent.get(build.version, {}))
    assert {row.build: row.spent for row in found if row.spent} == spent


def test_an_experiment_shares_its_audience_as_its_layout_says() -> None:
    lab = Lab(plan=plan(variations={"default": 2, "b": 1, "c": 1})).begins()
    found = {row.variation: row for row in overview(lab.ledger, LastMinute(), ["m"], lab.now)}
    assert {name: (row.desired, row.arm) for name, row in found.items()} == {
        "default": (50, "stable"), "b": (25, "candidate"), "c": (25, "candidate"),
    }  # fmt: skip
    assert (found["b"].rollout, found["b"].verdict) == (lab.comparison("b").id, "NO DATA")


def test_models_that_are_not_asked_for_are_left_out() -> None:
    world = World().started()
    assert overview(world.ledger, LastMinute(), [], world.now) == ()
    assert overview(world.ledger, LastMinute(), [MODEL[:3]], world.now) == ()


def test_the_verdict_is_the_worst_of_all_gates() -> None:
    world = World().started()
    world.three.drive(world.now)
    name = world.three.rollouts["ny"]
    assert verdict_of(world.ledger.rollout(name)) == "NO DATA"
    for answer, label in (("undecided", "UNDECIDED"), ("fail", "FAIL"), ("pass", "PASS")):
        fact = Judged(metric="errors", answer=answer, k=1, step=0, reason="because")
        world.ledger.append(name, world.ledger.rollout(name).seq + 1, fact, world.now)
        assert verdict_of(world.ledger.rollout(name)) == label
        found = rows(world.ledger, LastMinute(), world.now)
        assert (found["ny", "5"].verdict, found["ny", "2"].verdict) == (label, None)


@pytest.mark.parametrize(
    ("gate", "guardrail", "label"),
    [
        ("pass", "undecided", "PASS"),
        ("pass", "no_data", "PASS"),
        ("pass", "fail", "FAIL"),
        ("undecided", "undecided", "UNDECIDED"),
        (None, "undecided", "NO DATA"),
    ],
)
def test_of_a_guardrail_only_harm_counts(gate: str | None, guardrail: str, label: str) -> None:
    given = Given()
    given.ticks()
    for metric, answer in (("log_loss", gate), ("errors", guardrail)):
        if answer is not None:
            fact = Judged(metric=metric, answer=answer, k=1, step=0, reason="because")
            given.ledger.append(given.name, given.rollout.seq + 1, fact, given.now)
    assert verdict_of(given.rollout) == label


def test_a_gate_that_passed_at_an_earlier_step_must_still_pass() -> None:
    given = Given()
    given.ticks()
    judged = Judged(metric="log_loss", answer="pass", k=1, step=0, reason="because")
    for fact, label in (
        (judged, "PASS"),
        (StepEntered(step=1, weight=2500, actor="policy", reason="passed"), "UNDECIDED"),
        (replace(judged, k=2, step=1), "PASS"),
    ):
        given.ledger.append(given.name, given.rollout.seq + 1, fact, given.now)
        assert verdict_of(given.rollout) == label


def test_where_only_guardrails_judge_no_harm_is_ok() -> None:
    metrics = {"errors": PLAN["metrics"]["errors"]}  # type: ignore[index]
    given = Given({**PLAN, "metrics": metrics, "gates": [], "steps": [{"weight": 10}]})
    given.ticks()
    assert verdict_of(given.rollout) == "NO DATA"
    fact = Judged(metric="errors", answer="undecided", k=1, step=0, reason="because")
    given.ledger.append(given.name, given.rollout.seq + 1, fact, given.now)
    assert verdict_of(given.rollout) == "OK"
