"""Rules of limits: a rate that must stay below a share, and a latency's quantile that must stay below a time. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from sluicegate.registry.plan.fields import GateSpec, PlanFields, Source
from sluicegate.registry.plan.limits import TimeLimit
from sluicegate.registry.words.metric import Worse

Found = tuple[tuple[str | int, ...], str, str]
"""Where, what, and how to mend it."""


def wrong_limits(plan: PlanFields) -> Iterator[Found]:
    """What is wrong with the limits of a plan as a canary or a comparison follows it."""
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


def in_shadow(plan: PlanFields) -> Iterator[Found]:
    """What a shadow's rules have no limit for: copies of requests have nobody who waits, or is refused."""
    for i, gate in enumerate(plan.gates):
        if isinstance(gate.below, TimeLimit):
            message = "a limit in time needs requests that somebody waits for, but a shadow answers copies"
            yield ("gates", i, "below"), message, "move it to the gates of the canary, or write margin: 20%"
    for i, gate in enumerate(plan.guardrails):
        if gate.below is not None:
            message = "a guardrail of a shadow only stops a candidate that is worse than stable, so it has no limit"
            yield ("guardrails", i, "below"), message, "remove it, or move it to gates"


def _time(plan: PlanFields, gate: GateSpec, at: tuple[str | int, ...]) -> Iterator[Found]:
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


def _share(plan: PlanFields, gate: GateSpec, at: tuple[str | int, ...]) -> Iterator[Found]:
    spec = plan.metrics.get(gate.metric)
    if spec is not None and not (spec.is_binary and spec.worse is Worse.HIGHER):
        fix = "write margin: 5% instead" if at[0] == "gates" else "remove it"
        yield at, f"below is for rates of failures; {gate.metric} is not one", fix
