"""Blue/green: what a plan that switches all requests at once cannot contain. Pure; each fault names its fix."""

from __future__ import annotations

from collections.abc import Iterator

from sluicegate.registry.plan.fields import GateSpec, MetricSpec, PlanFields, Source

Fault = tuple[tuple[str | int, ...], str, str]
"""Where, what is wrong, how to fix it."""
_CANARY = "strategy: canary with steps: [{weight: 50}]"
_KNOWN_AT_ONCE = (Source.STATUS, Source.LATENCY, Source.CONTRACT)


def blue_green_faults(plan: PlanFields) -> Iterator[Fault]:
    """What is wrong with a plan that switches. After the switch stable gets no requests, so nothing can be compared."""
    if not plan.switches:
        yield from _approval(plan)
        return
    if plan.steps:
        message = "blue-green switches all requests at once, so it has no steps"
        yield ("steps",), message, "remove them, or write strategy: canary"
    for section in ("shadow", "ab"):
        if getattr(plan, section) is not None:
            message = f"{section} has no effect with strategy: blue-green"
            yield (section,), message, f"remove it, or write strategy: {'canary' if section == 'shadow' else 'ab'}"
    if plan.confirm is not None:
        message = "confirm needs a holdout on the former stable, and after a switch the former stable has no callers"
        yield ("confirm",), message, "remove it, or write strategy: canary"
    if "bake" in plan.model_fields_set and not plan.bake:
        message = "without a bake nothing would be judged, and nobody could switch back at once"
        yield ("bake",), message, "write bake: 10m, or remove it: 10m is the default"
    for section, gates in (("gates", plan.gates), ("guardrails", plan.guardrails)):
        for position, gate in enumerate(gates):
            yield from (((section, position, *at), what, fix) for at, what, fix in _gate(plan, gate))


def _gate(plan: PlanFields, gate: GateSpec) -> Iterator[Fault]:
    """A gate must have a limit of its own, on a metric that is known as soon as the answer is."""
    spec = plan.metrics.get(gate.metric)
    if spec is None:
        return
    if spec.source not in _KNOWN_AT_ONCE:
        message = (
            f"{gate.metric} can only be judged in comparison with stable, and after a switch stable has no requests"
        )
        yield ("metric",), message, f"judge it before, with offline, replay or check; or write {_CANARY}"
    elif gate.margin is not None or gate.below is None:
        what = "has a margin relative to stable" if gate.margin is not None else "is compared with stable"
        message = f"{gate.metric} {what}, and after a switch stable has no requests to compare with"
        yield ("metric",), message, f"write {_limit(spec)}, or {_CANARY}"
    if gate.slices:
        message = "slices are compared with stable's, but after a switch stable has no requests"
        yield ("slices",), message, f"remove slices, or write {_CANARY}"


def _limit(spec: MetricSpec) -> str:
    if spec.source is not Source.LATENCY:
        return "below: 1%"
    return "below: 300ms" if spec.quantile is not None else "a quantile with below: 300ms"


def _approval(plan: PlanFields) -> Iterator[Fault]:
    """An approval before the first request makes no sense if no caller's request goes to the candidate."""
    if plan.approval and (plan.strategy == "ab" or plan.ends_in_shadow):
        message = "by this plan no caller's request goes to a candidate, so there is nothing to approve"
        yield ("approval",), message, "remove it"
