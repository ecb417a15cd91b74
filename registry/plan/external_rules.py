"""Rules of external gates: what would have no effect, contradict itself or never be a number. Pure; with fixes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from sluicegate.registry.plan.external import ExternalGate
from sluicegate.registry.plan.fields import PlanFields
from sluicegate.registry.plan.placeholders import path_faults, promql_faults, sql_faults
from sluicegate.registry.words.units import format_duration

Fault = tuple[tuple[str | int, ...], str, str]
"""Where, what is wrong, how to fix it."""


def external_faults(plan: PlanFields) -> Iterator[Fault]:
    """What is wrong with the external gates of a plan."""
    metrics = {gate.metric for gate in (*plan.gates, *plan.guardrails)}
    names = Counter(gate.name for gate in plan.external)
    if plan.external and (plan.strategy == "ab" or plan.ends_in_shadow):
        message = "external gates judge a canary, and this plan has none"
        yield ("external",), message, "remove them, or write the steps of a canary"
    for position, gate in enumerate(plan.external):
        at = ("external", position)
        if gate.name in metrics:
            message = f"{gate.name} is the metric of a gate already"
            yield (*at, "name"), message, f"write another name, such as {gate.name}_outside"
        elif names[gate.name] > 1:
            yield (
                (*at, "name"),
                f"{names[gate.name]} external gates have the name {gate.name}",
                "give each a name of its own",
            )
        for inner, message, fix in (*_query_faults(gate), *_limit_faults(gate)):
            yield (*at, *inner), message, fix


def _query_faults(gate: ExternalGate) -> Iterator[Fault]:
    """A gate needs exactly one query, whose placeholders can be filled."""
    queries = [key for key in ("promql", "sql", "http") if getattr(gate, key) is not None]
    if len(queries) != 1:
        message = (
            f"it has {' and '.join(queries)}, but a gate asks one question"
            if queries
            else f"it has no question for {gate.source}"
        )
        yield ("source",), message, "write one of promql: …, sql: … and http: {path: …, value: …}"
    if gate.promql is not None:
        yield from ((("promql",), *fault) for fault in promql_faults(gate.promql))
    if gate.sql is not None:
        yield from ((("sql",), *fault) for fault in sql_faults(gate.sql))
    if gate.http is not None:
        yield from ((("http", "path"), *fault) for fault in path_faults(gate.http.path))


def _limit_faults(gate: ExternalGate) -> Iterator[Fault]:
    if gate.below is None and gate.above is None:
        yield ("name",), f"{gate.name} has no limit", "write below: 0.9, above: 0.1, or both"
    if gate.below is not None and gate.above is not None and gate.above >= gate.below:
        yield ("above",), f"no number is above {gate.above:g} and also below {gate.below:g}", "write a smaller above"
    if gate.max_age < gate.every:
        every = format_duration(gate.every)
        message = f"the source is asked every {every}, so each value would be too old before the next one comes"
        yield ("max_age",), message, f"write {every} or more"
    if not gate.decides and gate.then == "pause":
        yield ("then",), "with mode: watch nothing follows from a failure", "remove then, or remove mode: watch"
    if not gate.decides and gate.guardrail:
        yield (
            ("guardrail",),
            "with mode: watch it stops nothing, so it cannot be a guardrail",
            "remove guardrail, or remove mode: watch",
        )
