"""Rules for the consequences of verdicts: where watching and pausing make no sense. Pure; each fault names its fix."""

from __future__ import annotations

from collections.abc import Iterator

from sluicegate.registry.plan.fields import GateSpec, PlanFields

Fault = tuple[tuple[str | int, ...], str, str]
"""Where, what is wrong, how to fix it."""


def acting_faults(plan: PlanFields) -> Iterator[Fault]:
    """What is wrong with the consequences that a plan gives to its gates and guardrails, in any section."""
    for at, gate in _everywhere(plan):
        if not gate.decides and gate.then == "pause":
            yield (*at, "then"), "with mode: watch nothing follows from a failure", "remove then, or remove mode: watch"
        elif gate.then == "pause" and at[0] != "gates" and at[0] != "guardrails":
            message = "a shadow, a replay and an experiment end by themselves, so nobody resumes them after a failure"
            yield (*at, "then"), message, "remove it, or write mode: watch"
    if plan.ab is not None and not plan.ab.goal.decides:
        message = "the goal decides how the experiment ends, so it cannot have mode: watch"
        yield ("ab", "goal", "mode"), message, "remove it, or write mode: watch for the metric under guardrails"
    shadow = plan.shadow
    if shadow is not None and shadow.then is not None and shadow.gates and not any(g.decides for g in shadow.gates):
        message = "every gate of the shadow has mode: watch, so none can decide whether a canary follows"
        yield ("shadow", "then"), message, "remove mode: watch from one of them, or remove then"


def _everywhere(plan: PlanFields) -> Iterator[tuple[tuple[str | int, ...], GateSpec]]:
    """Every gate and guardrail of a plan, with its place."""
    for section, gates in (("gates", plan.gates), ("guardrails", plan.guardrails)):
        yield from (((section, i), gate) for i, gate in enumerate(gates))
    if plan.shadow is not None:
        for section, gates in (("gates", plan.shadow.gates), ("guardrails", plan.shadow.guardrails)):
            yield from ((("shadow", section, i), gate) for i, gate in enumerate(gates))
    if plan.replay is not None:
        yield from ((("replay", "gates", i), gate) for i, gate in enumerate(plan.replay.gates))
    if plan.ab is not None:
        yield ("ab", "goal"), plan.ab.goal
        yield from ((("ab", "guardrails", i), gate) for i, gate in enumerate(plan.ab.guardrails))
