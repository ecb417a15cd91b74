"""The plan as a rollout of one strategy follows it: a canary, a switch, a shadow, or one comparison. Pure."""

from __future__ import annotations

from typing import TypeVar

from sluicegate.registry.plan.confirm import with_confirming_gate
from sluicegate.registry.plan.fields import Expect, ExperimentSpec, GateSpec, PlanFields, Step, Strategy
from sluicegate.registry.words.units import FULL

P = TypeVar("P", bound=PlanFields)

REPLAY = "replay"
"""Stands for gates that are judged on earlier requests. No rollout has it as its strategy."""
_DAY = 86_400.0
_BAKE = 600.0
"""How long the switch is on trial if the plan does not say."""


def compared(plan: P, ab: ExperimentSpec, variation: str) -> P:
    """The plan for comparing one variation with the control.

    With m comparisons each has alpha / m (Bonferroni), so that the probabilities hold for all of them together.
    """
    weights, many = ab.variations, len(ab.variations) - 1
    mine = weights.get(variation, 0)
    pair = mine + weights.get(plan.variation, 0)
    of_all = pair / sum(weights.values()) * (1 - ab.holdout / 10_000)
    alpha = ab.goal.alpha / many
    goal = ab.goal.model_copy(update={"alpha": alpha, "beta": alpha, "margin": ab.goal.margin or 0.0})
    guardrails = tuple(each.model_copy(update={"alpha": each.alpha / many}) for each in ab.guardrails)
    requests = plan.expect.requests_per_day * of_all * ab.max_time / _DAY if plan.expect else None
    return plan.model_copy(
        update={
            "strategy": Strategy.AB, "gates": (goal,), "guardrails": guardrails, "external": (),
            "deadline": None, "confirm": None,
            "steps": (Step.model_construct(weight=round(10_000 * mine / pair), soak=ab.soak),),
            "expect": Expect.model_construct(requests_per_day=max(round(requests), 1)) if requests else None,
        }
    )  # fmt: skip


def staged(plan: P, strategy: str, variation: str | None = None) -> P:
    """The plan as a rollout of this strategy follows it.

    All but a canary have exactly one step. Its weight is the share of copies for a shadow, everything for a replay, the
    variation's share next to the control's for a comparison, and everything for a switch, which bakes in that step.
    """
    if strategy == Strategy.AB and plan.ab is not None and variation is not None:
        return compared(plan, plan.ab, variation)
    if strategy == Strategy.CANARY:
        return with_confirming_gate(plan.model_copy(update={"strategy": Strategy.CANARY}))
    if strategy == REPLAY and plan.replay is not None:
        return _paired(plan, Step.model_construct(weight=FULL), plan.replay.gates, ())
    if strategy == Strategy.BLUE_GREEN and not plan.steps:
        on_trial = Step.model_construct(weight=FULL, soak=plan.bake or _BAKE)
        return plan.model_copy(update={"steps": (on_trial,), "bake": 0.0})
    if strategy != Strategy.SHADOW or plan.shadow is None:
        return plan
    shadow = plan.shadow
    step = Step.model_construct(weight=shadow.sample, soak=shadow.soak)
    return _paired(plan, step, shadow.gates, shadow.guardrails)


def _paired(plan: P, step: Step, gates: tuple[GateSpec, ...], guardrails: tuple[GateSpec, ...]) -> P:
    """The plan for comparing two answers to each request."""
    return plan.model_copy(
        update={
            "strategy": Strategy.SHADOW, "steps": (step,), "gates": gates, "guardrails": guardrails,
            "external": (), "deadline": None, "confirm": None,
        }
    )  # fmt: skip
