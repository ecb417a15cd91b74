"""Prediction metrics: from answers in the log to a guardrail that stops, or does not."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from benchmarks.collector_lines import START_US, assigned, line
from sluicegate.flows.gate.design import gate_question
from sluicegate.flows.gate.judge import next_look
from sluicegate.flows.rehearsal.certify import certify
from sluicegate.registry.plan.fields import Expect, thresholds_of
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.metric import LEVELS
from sluicegate.registry.words.verdict import Answer, Look, Verdict
from sluicegate.services.telemetry.tally.spec import RolloutSpec
from tests.contract.telemetry_rig import Rig

DRIFT = {"source": "prediction", "prediction": {"column": "probability"}}
PLAN = Plan.model_validate({
    "model": "delays",
    "metrics": {"drift": DRIFT, "contract": {"source": "contract"}},
    "guardrails": [{"metric": "drift", "alpha": 0.01}, {"metric": "contract", "alpha": 0.01}],
    "steps": [{"weight": 20}],
    "expect": {"requests_per_day": 10_000},
})  # fmt: skip
BY_UNIT = PLAN.model_copy(update={"unit": "x-user-id"})
REQUESTS = 1_200

Predict = Callable[[random.Random], float | None]


def spec(plan: Plan) -> RolloutSpec:
    frozen = dict(zip(thresholds_of("drift", plan.metrics["drift"]), LEVELS, strict=True))
    return RolloutSpec(rollout="r1", metrics=dict(plan.metrics), thresholds=frozen, by_unit=plan.unit is not None)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(f"sqlite:///{tmp_path}/telemetry.db", tmp_path / "live.jsonl", {"r1": spec(PLAN)})
    yield rig
    rig.store.close()


def answer(value: object, **more: object) -> str:
    return json.dumps({"c": ["probability"], "r": [[value]]} | more)


def serve(rig: Rig, candidate: Predict, *, broken: Predict | None = None, units: int | None = None) -> None:
    """Requests at 20 %: stable's predictions are uniform, so that its quantiles are their levels."""
    rng = random.Random(3)
    for number in range(REQUESTS):
        unit = rng.randrange(units) if units else number
        is_candidate = unit % 5 == 0 if units else rng.random() < 0.2
        value = candidate(rng) if is_candidate else rng.random()
        more = {"x": "type"} if is_candidate and broken is not None and broken(rng) else {}
        rig.write(
            line(
                f"q{number}", ts=str(START_US + number * 10_000), unit=f"u{unit}", prediction=answer(value, **more),
                assigned=assigned("candidate" if is_candidate else "stable", weight=2_000),
                upstream="2" if is_candidate else "1",
            )
        )  # fmt: skip
        if number % 100 == 99:
            rig.collect()


def judge(rig: Rig, plan: Plan, metric: str) -> Verdict:
    """The verdict of looks taken as rows came in is the same as one look at the end; one is enough here."""
    gate = next(each for each in plan.guardrails if each.metric == metric)
    names = gate_question(plan, gate).names
    watermark, rows = rig.queries.tallies("r1")
    look = next_look(
        rollout="r1", plan=plan, gate=gate, guardrail=True, step=0, looks=list[Look](), watermark=watermark,
        rows=[row for row in rows if row.metric in names], at=rig.now,
    )  # fmt: skip
    assert look is not None
    return look.verdict


def test_predictions_that_lie_elsewhere_stop_the_candidate_and_say_where(rig: Rig) -> None:
    serve(rig, lambda rng: rng.random() ** 3)
    verdict = judge(rig, PLAN, "drift")
    assert verdict.answer is Answer.FAIL
    assert "s 50 % quantile, and" in verdict.reason
    assert verdict.alpha_spent is not None
    assert verdict.alpha_spent <= 0.01


def test_a_constant_with_the_right_mean_is_a_drift(rig: Rig) -> None:
    serve(rig, lambda _: 0.5)
    assert judge(rig, PLAN, "drift").answer is Answer.FAIL


@pytest.mark.parametrize("power", [1.0, 1.2])
def test_what_is_tolerated_stops_nothing(rig: Rig, power: float) -> None:
    serve(rig, lambda rng: rng.random() ** power)
    verdict = judge(rig, PLAN, "drift")
    assert verdict.answer is Answer.UNDECIDED
    assert "no drift beyond 10 % found" in verdict.reason


def test_a_wider_tolerance_lets_more_pass(rig: Rig) -> None:
    wide = PLAN.model_copy(
        update={"metrics": PLAN.metrics | {"drift": PLAN.metrics["drift"].model_copy(update={"tolerance": 0.4})}}
    )
    serve(rig, lambda rng: rng.random() ** 2)
    assert judge(rig, PLAN, "drift").answer is Answer.FAIL
    assert judge(rig, wide, "drift").answer is Answer.UNDECIDED


def test_returning_units_are_judged_by_unit(rig: Rig) -> None:
    """Thirty users with a taste of their own: by request the candidate's six would look like a drift."""
    rig.specs["r1"] = spec(BY_UNIT)
    rig.start()
    serve(rig, lambda rng: 0.9 + rng.random() / 20, units=10)
    assert judge(rig, BY_UNIT, "drift").answer is not Answer.FAIL
    assert judge(rig, PLAN, "drift").answer is Answer.FAIL


def test_predictions_that_are_no_numbers_are_missing_and_never_counted(rig: Rig) -> None:
    rig.write(line("a", prediction=answer("high")), line("b", prediction=answer(None)), line("c"))
    rig.write(line("d", prediction='{"n":40,"truncated":true}'), line("e", prediction=None))
    rig.collect()
    assert rig.sums("drift") == (1, 4, 0.25)
    assert rig.sums("drift@0.1") == (1, 4, 1.0)
    assert rig.sums("drift@0.25") == (1, 4, 0.0)


def test_only_answers_of_the_assigned_build_are_judged(rig: Rig) -> None:
    ours = {"assigned": assigned("candidate"), "upstream": "2"}
    bad = answer(0.5, x="nan")
    rig.write(
        line("a", **ours, prediction=bad), line("fallback", **ours | {"upstream": "1"}, attempts=2, prediction=bad),
        line("refused", **ours, status=422, prediction=None), line("failed", **ours, status=500, prediction=None),
        line("left", **ours, status=0, flags="DC", prediction=None), line("b", **ours),
    )  # fmt: skip
    rig.collect()
    assert rig.sums("contract", "candidate") == (2, 0, 1.0)
    assert rig.sums("drift", "candidate") == (2, 0, 0.75)


def test_one_prediction_a_request_counts(rig: Rig) -> None:
    rig.write(line("a", prediction='{"c":["probability"],"r":[[0.5],[0.9],[0.9]]}'))
    rig.collect()
    assert rig.sums("drift") == (1, 0, 0.5)


def test_answers_that_break_the_signature_stop_the_candidate(rig: Rig) -> None:
    serve(rig, lambda rng: rng.random(), broken=lambda rng: rng.random() < 0.1)
    verdict = judge(rig, PLAN, "contract")
    assert verdict.answer is Answer.FAIL
    assert verdict.stable_mean == 0
    assert judge(rig, PLAN, "drift").answer is Answer.UNDECIDED


def test_levels_are_frozen_from_what_stable_answered_itself(rig: Rig) -> None:
    outside = assigned(rollout=None, weight=0)
    rig.write(*(line(f"s{n}", assigned=outside, prediction=answer(n / 100)) for n in range(1, 101)))
    rig.write(line("other", assigned=outside, upstream="9", prediction=answer(50)))
    rig.write(line("bad", assigned=outside, prediction=answer("none")))
    rig.collect()
    field = PLAN.metrics["drift"].prediction
    assert rig.queries.stable_predictions("delays", "1", field, LEVELS) == (LEVELS, 100)
    assert rig.queries.stable_predictions("delays", "1", field, (0.5,), limit=11) == ((0.95,), 10)
    assert rig.queries.stable_predictions("delays", "7", field, LEVELS) is None


def test_without_levels_the_prediction_itself_is_tallied(rig: Rig) -> None:
    rig.specs["r1"] = RolloutSpec(rollout="r1", metrics=dict(PLAN.metrics))
    rig.start()
    rig.write(line("a"))
    rig.collect()
    assert rig.sums("drift") == (1, 0, 0.25)
    assert rig.tally("drift@0.5") is None
    rig.specs["r1"] = spec(PLAN)
    rig.now += timedelta(seconds=2)
    rig.write(line("b"))
    rig.collect()
    assert rig.sums("drift@0.5") == (1, 0, 0.0)


def test_a_plan_with_prediction_metrics_can_be_certified() -> None:
    busy = PLAN.model_copy(update={"expect": Expect(requests_per_day=40_000)})  # a rate of .5 % takes as many
    certificate = certify(busy, {}, runs=8)
    assert certificate.ok, [check for check in certificate.checks if not check.ok]
    assert any("with 25% of its predictions elsewhere" in check.reason for check in certificate.checks)
