"""The plan of one comparison of an experiment, at its part of what the experiment may cost. Pure."""

from __future__ import annotations

from registry.plan import Expect, Experiment, Plan, Step, Strategy

_DAY = 86_400.0


def compared(plan: Plan, ab: Experiment, variation: str) -> Plan:
    """A variation with the control.

    With m comparisons each has alpha / m (Bonferroni), so that the chances hold for all of them together.
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
            "strategy": Strategy.AB, "gates": (goal,), "guardrails": guardrails, "deadline": None,
            "steps": (Step.model_construct(weight=round(10_000 * mine / pair), soak=ab.soak),),
            "expect": Expect.model_construct(requests_per_day=max(round(requests), 1)) if requests else None,
        }
    )  # fmt: skip
