"""Confirmation: the rules of `confirm`, and the plan of a rollout that late labels confirm. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from sluicegate.registry.plan.fields import Confirm, PlanFields, Source
from sluicegate.registry.words.suggestions import suggestion
from sluicegate.registry.words.units import FULL, format_duration, format_weight

P = TypeVar("P", bound=PlanFields)
Fault = tuple[tuple[str | int, ...], str, str]
"""Where, what is wrong, how to fix it."""


def with_confirming_gate(plan: P) -> P:
    """The plan with its confirmation as a gate. It may stop from the first step on, and decides after the promotion."""
    if plan.confirm is None or plan.confirm.metric in plan.rules:
        return plan
    return plan.model_copy(update={"gates": (*plan.gates, plan.confirm.rule)})


def confirm_faults(plan: PlanFields) -> Iterator[Fault]:
    """What is wrong with a plan's confirmation."""
    confirm = plan.confirm
    if confirm is None or plan.switches:
        return
    if not plan.steps:
        message = "this plan never promotes a build, so there is nothing to confirm"
        yield ("confirm",), message, "write steps, or remove confirm"
        return
    yield from _metric(plan, confirm)
    if confirm.soak >= confirm.max_time:
        soak = format_duration(confirm.soak)
        message = f"the confirmation would end before the holdout was kept for {soak}"
        yield ("confirm", "max_time"), message, f"write more than {soak}"
    most, left = plan.steps[-1].weight, FULL - confirm.holdout
    if confirm.holdout > FULL // 2:
        message = "a promoted build gets most of the requests, so at most half of them can be held out"
        yield ("confirm", "holdout"), message, "write at most 50, such as 5"
    elif most > left:
        message = (
            f"the last step gives {format_weight(most)} % already, and with this holdout the promotion "
            f"{format_weight(left)} %: users would be moved back"
        )
        yield ("confirm", "holdout"), message, f"write at most {format_weight(FULL - most)}, or a smaller last step"


def _metric(plan: PlanFields, confirm: Confirm) -> Iterator[Fault]:
    spec = plan.metrics.get(confirm.metric)
    if spec is None:
        message = f"there is no metric {confirm.metric}"
        yield ("confirm", "metric"), message, suggestion(confirm.metric, plan.metrics)
        return
    if spec.source is not Source.OUTCOME:
        message = f"{confirm.metric} is known at once, so no values of it arrive after the promotion"
        yield (
            ("confirm", "metric"),
            message,
            "name a metric with source: outcome, or judge this one by a gate or a guardrail",
        )
    if confirm.metric in plan.rules:
        message = f"{confirm.metric} has a gate or a guardrail already, which decides before the promotion"
        fix = "keep one of them, or measure the outcome under a second name with another matures_after"
        yield ("confirm", "metric"), message, fix
    if spec.matures_after >= confirm.max_time:
        after = format_duration(spec.matures_after)
        message = (
            f"a label of {confirm.metric} counts once its request is {after} old, so no label of a request "
            "after the promotion would count in time"
        )
        yield ("confirm", "max_time"), message, f"write more than {after}, and enough for the requests that it takes"
