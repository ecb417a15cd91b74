"""Rules of limits: a share that a rate must stay below, and a time that a latency's quantile must. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from sluicegate.registry.plan.fields import GateSpec, PlanFields, Source
from sluicegate.registry.plan.limits import TimeLimit
from sluicegate.registry.words.metric import Worse

Fault = tuple[tuple[str | int, ...], str, str]
"""Where, what is wrong, how to fix it."""


def limit_faults(plan: PlanFields) -> Iterator[Fault]:
    """What is wrong with the limits of a canary's or a comparison's plan."""
    for section, gates in (("gates", plan.gates), ("guardrails", plan.guardrails)):
        for i, gate in enumerate(gates):
            at = (section, i, "below")
            if gate.below is not None and gate.slices and section == "guardrails":
                message = "slices are compared with stable, but below is a limit that does not depend on stable"
                yield at, message, "remove below or slices; to have both, add the metric once more under another name"
            if isinstance(gate.below, TimeLimit):
                yield from _time(plan, gate, at)
            elif gate.below is not None:
                yield from _share(plan, gate, at)


def shadow_limit_faults(plan: PlanFields) -> Iterator[Fault]:
    """Limits that a shadow cannot have: nobody waits for the answer to a copy, and nobody is refused."""
    for i, gate in enumerate(plan.gates):
        if isinstance(gate.below, TimeLimit):
            message = "a limit in time needs requests that somebody waits for, but a shadow answers copies"
            yield ("gates", i, "below"), message, "move it to the gates of the canary, or write margin: 20%"
    for i, gate in enumerate(plan.guardrails):
        if gate.below is not None:
            message = "a guardrail of a shadow only stops a candidate that is worse than stable, so it has no limit"
            yield ("guardrails", i, "below"), message, "remove it, or move it to gates"


def _time(plan: PlanFields, gate: GateSpec, at: tuple[str | int, ...]) -> Iterator[Fault]:
    spec = plan.metrics.get(gate.metric)
    if spec is not None and (spec.source is not Source.LATENCY or spec.quantile is None):
        yield (
            at,
            f"{gate.below} is a time, which is a limit for a quantile of latency; {gate.metric} is not one",
            "write below: 1%",
        )
    if any(plan.margin(gate, step) is not None for step in range(len(plan.steps))) or gate.margin is not None:
        message = (
            f"{gate.metric} has the fixed limit {gate.below}, so it cannot have a margin relative to stable as well"
        )
        yield at, message, f"remove the margin, or name a second metric for it: {gate.metric}_beside_stable"


def _share(plan: PlanFields, gate: GateSpec, at: tuple[str | int, ...]) -> Iterator[Fault]:
    spec = plan.metrics.get(gate.metric)
    if spec is not None and not (spec.is_binary and spec.worse is Worse.HIGHER):
        fix = "write margin: 5% instead" if at[0] == "gates" else "remove it"
        yield at, f"below is for rates of failures; {gate.metric} is not one", fix
