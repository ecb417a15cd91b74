"""Slices in a plan: which headers split the traffic, and what cannot be compared by slice. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from sluicegate.registry.plan.fields import GateSpec, PlanFields, Source
from sluicegate.registry.words.slices import MOST_HEADERS

_SECRETS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})
_SOURCES = frozenset({Source.STATUS, Source.LATENCY, Source.CONTRACT, Source.OUTCOME})
Fault = tuple[tuple[str | int, ...], str, str]
"""Where, what is wrong, how to fix it."""


def sliced_headers(plan: PlanFields) -> tuple[str, ...]:
    """The headers by which any guardrail slices the traffic, in the order of the document."""
    return tuple(dict.fromkeys(header for gate in plan.guardrails for header in gate.slices))


def sliced_metrics(plan: PlanFields) -> dict[str, tuple[tuple[int, str], ...]]:
    """For each metric the headers that slice it, each with its position among all of the plan's."""
    positions = {header: position for position, header in enumerate(sliced_headers(plan))}
    return {
        gate.metric: tuple((positions[header], header) for header in gate.slices)
        for gate in plan.guardrails
        if gate.slices
    }


def slice_faults(plan: PlanFields) -> Iterator[Fault]:
    """What is wrong with the slices of a plan."""
    for position, gate in enumerate(plan.guardrails):
        for inner, message, fix in _of_guardrail(plan, gate):
            yield ("guardrails", position, *inner), message, fix
    for at, gates, why, fix in _elsewhere(plan):
        for position, gate in enumerate(gates):
            if gate.slices:
                yield (*at, position, "slices"), why, fix
    headers = sliced_headers(plan)
    if len(headers) > MOST_HEADERS:
        message = f"slices use {len(headers)} headers: {', '.join(headers)}; the gateway logs at most {MOST_HEADERS}"
        yield ("guardrails",), message, f"name at most {MOST_HEADERS} headers in the whole plan"


def _of_guardrail(plan: PlanFields, gate: GateSpec) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    spec = plan.metrics.get(gate.metric)
    if gate.slices and spec is not None and not (spec.is_binary and spec.source in _SOURCES):
        message = f"slices compare rates; {gate.metric} is not one"
        fix = (
            "use a metric with source: status or contract, a latency with a quantile, or an outcome with "
            "score: zero_one"
        )
        yield ("slices",), message, fix
    for number, header in enumerate(gate.slices):
        at = ("slices", number)
        if header in gate.slices[:number]:
            yield at, f"{header} is named already", "remove it"
        elif header == plan.unit:
            yield at, f"{header} is the unit, so each slice would be a single unit", "name another header"
        elif header in _SECRETS or header.startswith("x-sluice-"):
            yield at, f"{header} must not be written into logs", "name another header"


def _elsewhere(plan: PlanFields) -> Iterator[tuple[tuple[str | int, ...], tuple[GateSpec, ...], str, str]]:
    """Sections in which slices make no sense."""
    yield (
        ("gates",),
        plan.gates,
        "slices belong to guardrails: a slice can only stop a rollout",
        "move the slices to a guardrail, on this or another metric",
    )
    if plan.shadow is not None:
        for section, gates in (("gates", plan.shadow.gates), ("guardrails", plan.shadow.guardrails)):
            fix = "write shadow: {slices: [...]}; its comparisons of answers are then also shown by slice"
            yield (
                ("shadow", section),
                gates,
                "the slices of a shadow belong to the shadow as a whole, not to one gate",
                fix,
            )
    if plan.replay is not None:
        yield (
            ("replay", "gates"),
            plan.replay.gates,
            "a replay is judged as a whole, so it has no slices",
            "remove slices",
        )
    if plan.ab is not None:
        message, fix = "the variations of an experiment are not compared by slices", "remove slices"
        yield ("ab", "guardrails"), plan.ab.guardrails, message, fix
        if plan.ab.goal.slices:
            yield ("ab",), (), message, fix
