"""The section ab of a plan: what it may say, where it is wrong, and what each comparison gets of it."""

from __future__ import annotations

import copy

import pytest

from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.plan.staging import staged
from sluicegate.registry.rollout.experiment import UNCOUNTED, layout
from sluicegate.registry.words.errors import InvalidDocument
from tests.plans import read_plan

TEXT = """\
kind: plan
model: m
unit: x-user-id
metrics:
  loss: {source: outcome, outcome: loss, score: outcome}
  errors: {source: status}
gates: [{metric: loss, margin: 5%}]
steps: [{weight: 10}]
ab:
  variations: {default: 1, b: 1, c: 2}
  goal: {metric: loss, alpha: 0.06}
  guardrails: [{metric: errors, alpha: 0.02}]
  holdout: 10
  starts: 2026-12-01T08:00:00Z
  max_time: 14d
expect: {requests_per_day: 1000}
"""


def read(text: str) -> Plan:
    return read_plan(text, where="plan.yaml")


def test_it_is_read_and_written_as_it_is() -> None:
    plan = read(TEXT)
    assert plan.ab is not None
    assert (plan.ab.holdout, plan.ab.audience, plan.ab.then) == (1000, "default", "conclude")
    assert Plan.recorded(plan.document()) == plan
    assert Plan.model_validate(plan.document()).digest == plan.digest


def test_each_comparison_has_its_part_of_alpha_and_its_weight_beside_the_control() -> None:
    plan = read(TEXT)
    b, c = staged(plan, "ab", "b"), staged(plan, "ab", "c")
    assert [gate.alpha for gate in (*b.gates, *b.guardrails)] == pytest.approx([0.03, 0.01])
    assert (b.gates[0].margin, b.gates[0].beta) == (0.0, pytest.approx(0.03))
    assert (b.steps[0].weight, c.steps[0].weight) == (5000, 6667)
    assert b.expect is not None
    assert b.expect.requests_per_day == round(1000 * 14 * 0.9 * 2 / 4)
    assert staged(plan, "canary", "b") == plan


def test_the_layout_is_the_plans_with_those_held_out_first() -> None:
    plan = read(TEXT)
    assert plan.ab is not None
    held = {part.variation: part.slots for part in layout(plan.ab)}
    assert held == {UNCOUNTED: 1000, "default": 2250, "b": 2250, "c": 4500}
    assert sum(held.values()) == 10_000


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("{default: 1, b: 1, c: 2}", "{b: 1, c: 2}", 10, "add default: 1"),
        ("{default: 1, b: 1, c: 2}", "{default: 1}", 10, "at least 2"),
        ("{default: 1, b: 1, c: 2}", "{default: 1, b: 0}", 10, "greater than or equal to 1"),
        ("{default: 1, b: 1, c: 2}", "{default: 1, B_: 1}", 10, "not a valid name"),
        ("goal: {metric: loss", "goal: {metric: los", 11, "did you mean loss"),
        ("alpha: 0.06}", "alpha: 0.06, beta: 0.05}", 11, "its alpha limits both mistakes"),
        ("guardrails: [{metric: errors", "guardrails: [{metric: loss", 12, "has a gate already"),
        ("alpha: 0.02}]", "alpha: 0.06}]", 11, "lower their alphas"),
        ("max_time: 14d", "max_time: 14d\n  soak: 20d", 15, "end before it has lasted"),
        ("starts: 2026-12-01T08:00:00Z", "starts: 2026-12-01T08:00:00", 14, "timezone"),
        ("unit: x-user-id", ("unit: x-user-id\nstrategy: ab\ntrigger: "
            "{alias: candidate}"), 5, "a trigger cannot name a candidate"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(old: str, new: str, line: int, says: str) -> None:
    assert old in TEXT
    with pytest.raises(InvalidDocument) as refused:
        read(TEXT.replace(old, new))
    told = [(problem.line, f"{problem.message} {problem.fix}") for problem in refused.value.problems]
    assert any(says in text for _, text in told), told
    assert any(says in text and at == line for at, text in told), told


def test_the_strategy_needs_the_section() -> None:
    text = copy.copy(TEXT).replace("unit:", "strategy: ab\nunit:")
    read(text)
    start = text.index("ab:\n  variations")
    with pytest.raises(InvalidDocument, match="which variations to compare"):
        read(text[:start] + "expect: {requests_per_day: 1000}\n")


def test_twenty_variations_are_the_most() -> None:
    names = [f"v{n}" for n in range(1, 21)]
    body = {"default": 1} | dict.fromkeys(names[:19], 1)
    many = read(TEXT.replace("{default: 1, b: 1, c: 2}", str(body).replace("'", "")))
    assert many.ab is not None
    assert len(many.ab.variations) == 20
    with pytest.raises(InvalidDocument, match="at most 20"):
        read(TEXT.replace("{default: 1, b: 1, c: 2}", str(body | {"v20": 1}).replace("'", "")))
