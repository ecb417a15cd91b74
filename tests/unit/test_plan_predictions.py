"""Metrics of predictions and answers in a plan: what each may say, and what a build must tell for them."""

from __future__ import annotations

from typing import Any

import pytest

from sluicegate.registry.plan.against_build import check_against_build
from sluicegate.registry.plan.fields import thresholds_of
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.build import Build, BuildRef
from sluicegate.registry.words.errors import InvalidDocument
from tests.plans import read_plan

GOOD = """\
kind: plan
model: delays
metrics:
  drift: {source: prediction, prediction: {column: probability}, tolerance: 5%}
  contract: {source: contract}
gates:
  - {metric: contract, below: 1%}
guardrails:
  - {metric: drift, alpha: 0.01}
steps:
  - {weight: 10}
"""


def plan() -> Plan:
    return read_plan(GOOD, "plan.yaml")


def test_predictions_are_a_guardrail_and_contracts_may_gate() -> None:
    metric = plan().metrics["drift"]
    assert metric.tolerated == 0.05
    assert not metric.is_binary
    assert plan().metrics["contract"].is_binary
    assert thresholds_of("drift", metric) == ("drift@0.1", "drift@0.25", "drift@0.5", "drift@0.75", "drift@0.9")
    assert Plan.model_validate(plan().document()) == plan()


@pytest.mark.parametrize(
    ("before", "after", "line", "words"),
    [
        ("- {metric: drift, alpha: 0.01}", "- {metric: drift, margin: 5%}", 9, "only stops, so it has no margin"),
        ("gates:\n", "gates:\n  - {metric: drift, margin: 5%}\n", 7, "move it to guardrails"),
        ("tolerance: 5%", "worse: lower", 4, "neither better nor worse"),
        ("tolerance: 5%", "tolerance: 60%", 4, "0.5"),
        ("tolerance: 5%", "quantile: 0.5", 4, "quantile has no effect with source: prediction"),
        ("tolerance: 5%", "matures_after: 1h", 4, "matures_after has no effect with source: prediction"),
        ("{column: probability}", "{column: probability, positive: 1}", 4, "it has no positive class"),
        ("{source: contract}", "{source: contract, tolerance: 5%}", 5, "tolerance has no effect with source: contract"),
        ("{source: contract}", "{source: contract, worse: lower}", 5, "higher is always worse"),
        ("{source: contract}", "{source: contracts}", 5, "did you mean contract"),
    ],
)
def test_what_would_be_inert_is_an_error_with_its_place(before: str, after: str, line: int, words: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        read_plan(GOOD.replace(before, after), "plan.yaml")
    told = [str(problem) for problem in refused.value.problems]
    assert any(words in each and each.startswith(f"plan.yaml:{line}:") for each in told), told


def build(*outputs: dict[str, Any]) -> Build:
    signature = {"outputs": list(outputs)} if outputs else None
    return Build(ref=BuildRef(model="delays", version="2"), source="m-1", signature=signature)


def test_a_build_whose_answers_can_be_judged_is_fine() -> None:
    assert check_against_build(plan(), build({"type": "double", "name": "probability"})) == ()


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ((), "without a signature of its outputs"),
        (({"type": "double", "name": "score"},), "not with a column probability"),
        (({"type": "string", "name": "probability"},), "drift is measured on numbers"),
    ],
)
def test_a_build_that_cannot_be_judged_is_refused_with_the_fix(outputs: tuple[dict[str, Any], ...], words: str) -> None:
    [problem] = check_against_build(plan(), build(*outputs))
    assert words in problem


LATE = GOOD.replace(
    "  contract: {source: contract}\n",
    "  contract: {source: contract}\n"
    "  late: {source: outcome, outcome: late, score: zero_one, prediction: {column: label}, matures_after: 3h}\n",
).replace("guardrails:\n", "guardrails:\n  - {metric: late, alpha: 0.01}\n")


@pytest.mark.parametrize(
    ("more", "path", "words"),
    [
        ("retention: 2h", "metrics.late.matures_after", "requests are kept for 2h, but a value counts only after 3h"),
        ("deadline: {after: 1h}", "metrics.late.matures_after", "but a value counts only after 3h"),
        ("retention: 5m", "retention", "3600"),
        ("serve: {capture: {predictions: off}}", "serve.capture.predictions", "drift, late would compare"),
        ("serve: {capture: {share: 5%}}", "serve.capture.share", "share has no effect: no bodies are written"),
        ("serve: {capture: {features: some}}", "serve.capture.features", "hashed"),
    ],
)
def test_what_is_measured_late_or_scored_must_be_kept(more: str, path: str, words: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        read_plan(LATE + more + "\n", "plan.yaml")
    assert any(each.path == path and words in str(each) for each in refused.value.problems), refused.value


def test_what_is_kept_by_default_is_the_summary() -> None:
    capture = read_plan(LATE, "plan.yaml").serve.capture
    assert (capture.predictions, capture.features, capture.has_bodies) == ("summary", "off", False)
    fuller = read_plan(LATE + "serve: {capture: {features: hashed, share: 5%}}\n", "plan.yaml").serve.capture
    assert (fuller.share, fuller.has_bodies) == (0.05, True)
