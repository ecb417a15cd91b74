"""Slices in a plan: what may be looked at in parts, and what every refusal says."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.plan.slice_rules import sliced_headers, sliced_metrics

PLAN: dict[str, Any] = {
    "model": "m", "metrics": {"errors": {"source": "status"}, "p99": {"source": "latency", "quantile": 0.99}},
    "guardrails": [
        {"metric": "errors", "slices": ["x-state", "X-Plan"], "alpha": 0.01},
        {"metric": "p99", "slices": ["x-plan", "x-app"], "alpha": 0.01},
    ],
    "steps": [{"weight": 10}],
}  # fmt: skip
OUTCOME = {"source": "outcome", "outcome": "paid"}
SHADOW = {"strategy": "shadow", "shadow": {"sample": 10, "max_time": "1h", "guardrails": [PLAN["guardrails"][0]]}}
AB = {
    "strategy": "ab", "steps": [],
    "ab": {
        "variations": {"default": 1, "b": 1}, "goal": {"metric": "errors"}, "max_time": "1d",
        "guardrails": [{"metric": "p99", "slices": ["x-state"], "alpha": 0.01}],
    },
}  # fmt: skip


def errors(**changes: Any) -> dict[str, Any]:
    return {"guardrails": [PLAN["guardrails"][0] | changes, PLAN["guardrails"][1]]}


def test_headers_stand_in_the_order_of_the_document_each_once() -> None:
    plan = Plan.model_validate(PLAN)
    assert sliced_headers(plan) == ("x-state", "x-plan", "x-app")
    assert sliced_metrics(plan) == {"errors": ((0, "x-state"), (1, "x-plan")), "p99": ((1, "x-plan"), (2, "x-app"))}
    assert Plan.model_validate(plan.document()) == plan
    assert sliced_metrics(Plan.model_validate(PLAN | errors(slices=[]))) == {"p99": ((0, "x-plan"), (1, "x-app"))}


@pytest.mark.parametrize(
    "metric", [OUTCOME | {"score": "zero_one"}, {"source": "contract"}, {"source": "latency", "quantile": 0.5}]
)
def test_every_metric_of_zeros_and_ones_may_be_sliced(metric: dict[str, Any]) -> None:
    assert Plan.model_validate(PLAN | {"metrics": PLAN["metrics"] | {"errors": metric}})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (errors(slices=["x-state", "X-State"]), "x-state is named already"),
        (errors(slices=["authorization"]), "must not be written into logs"),
        (errors(slices=["x-sluice-unit"]), "must not be written into logs"),
        (errors(slices=["x-user-id"]) | {"unit": "x-user-id"}, "is the unit"),
        (errors(slices=["a", "b", "c"]), "slices use 5 headers: a, b, c, x-plan, x-app; the gateway logs at most 4"),
        (errors(slices=["not a header"]), "pattern"),
        (
            {"metrics": PLAN["metrics"] | {"errors": {"source": "latency", "cap": 3.0}}},
            "slices compare rates; errors is not one",
        ),
        (
            {"metrics": PLAN["metrics"] | {"errors": OUTCOME | {"score": "absolute_error"}}},
            "slices compare rates; errors is not one",
        ),
        (
            {"gates": [PLAN["guardrails"][0] | {"margin": "10%"}], "guardrails": PLAN["guardrails"][1:]},
            "a slice can only stop",
        ),
        (SHADOW, "the slices of a shadow belong to the shadow as a whole"),
        (AB, "the variations of an experiment are not compared by slices"),
    ],
)
def test_what_cannot_be_sliced_is_refused_with_the_reason(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Plan.model_validate(PLAN | change)
