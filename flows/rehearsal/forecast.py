"""Forecast: how many requests a plan's gates will need, before anything is rolled out. The gates themselves are
rehearsed.

Rows are requests that have their value; for outcomes, requests whose label arrives. Labels arrive as late as
`matures_after` says; strata with little traffic lose information (`gate.strata`); and returning units count as history
shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

from sluicegate.flows.gate.design import gates_of, planned_requests
from sluicegate.flows.gate.strata import LEAST
from sluicegate.flows.rehearsal.rehearsal import (
    Baseline,
    Rehearsal,
    baseline_of,
    most_informative_step,
    rehearsals,
)
from sluicegate.flows.rehearsal.world import World
from sluicegate.registry.plan.fields import GateSpec
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.plan.staging import staged

_DAY = 86_400.0
_BUCKET = 300.0
_HARMS = (2.0, 5.0)
_POWER = 0.8
_SEED_OF_BISECTION = 7


@dataclass(frozen=True, kw_only=True)
class StepForecast:
    """What one step needs when the candidate is as good as stable."""

    step: int
    weight: int
    margin: float | None
    requests: float | None
    """The median number of all requests until the step is left; None if most rollouts do not get there as planned."""
    seconds: float | None
    """The same as time, at the traffic the plan expects; None without expected traffic."""


@dataclass(frozen=True, kw_only=True)
class GateForecast:
    """What one gate will need and find."""

    metric: str
    guardrail: bool
    baseline: Baseline
    steps: tuple[StepForecast, ...]
    smallest_harm: float | None
    """The relative harm found with 80 % power within the planned requests; 0.2: 20 %."""
    exposed: tuple[tuple[float, float | None], ...]
    """For harms of x2 and x5: the median of the candidate's requests until it is stopped."""


def forecast(
    plan: Plan, baselines: Mapping[str, Baseline], *, runs: int = 60, seed: int = 1,
    on_part: Callable[[str, str], None] = lambda _, __: None,
) -> tuple[GateForecast, ...]:  # fmt: skip
    """The forecast of every gate and guardrail; `on_part` is called with a metric and what was computed about it.

    A metric without a baseline gets an assumed one, which says so.
    """
    plan = staged(plan, plan.strategy) if plan.switches else plan
    return tuple(
        _gate(plan, gate, guardrail, baseline_of(plan, gate, baselines), runs, seed, partial(on_part, gate.metric))
        for gate, guardrail in gates_of(plan)
    )


def _gate(
    plan: Plan, gate: GateSpec, guardrail: bool, baseline: Baseline, runs: int, seed: int,
    on_part: Callable[[str], None],
) -> GateForecast:  # fmt: skip
    world = _world(plan, gate, baseline)
    rehearse_harm = partial(
        rehearsals, plan, gate, baseline, runs=runs, seed=seed, stay_at=0 if guardrail else None, world=world
    )  # fmt: skip
    equal = [] if guardrail else rehearse_harm(harm=1.0)
    if equal:
        on_part("how long a candidate as good as stable takes")
    exposed = []
    for harm in _HARMS:
        exposed.append((harm, _exposed(rehearse_harm(harm=harm))))
        on_part(f"how many requests a candidate gets that is {harm:g} times as bad")
    smallest = smallest_harm(plan, gate, baseline)
    on_part("the smallest harm that is found")
    return GateForecast(
        metric=gate.metric,
        guardrail=guardrail,
        baseline=baseline,
        steps=tuple(_step(plan, gate, step, equal) for step in range(len(plan.steps))) if equal else (),
        smallest_harm=smallest,
        exposed=tuple(exposed),
    )


def _world(plan: Plan, gate: GateSpec, baseline: Baseline) -> World:
    """How much a request counts, and how many requests arrive before its label does."""
    if plan.expect is None:
        return World(worth=1 / baseline.alike)
    per_day = plan.expect.requests_per_day
    kept = 1 - 1 / max(per_day * _BUCKET / _DAY, LEAST)
    delay = plan.metrics[gate.metric].matures_after / _DAY * per_day
    return World(worth=kept / baseline.alike, delay=delay)


def _step(plan: Plan, gate: GateSpec, step: int, equal: Sequence[Rehearsal]) -> StepForecast:
    requests = median(run.passed[step] if len(run.passed) > step else math.inf for run in equal)
    known = requests if math.isfinite(requests) else None
    per_day = plan.expect.requests_per_day if plan.expect is not None else None
    return StepForecast(
        step=step,
        weight=plan.steps[step].weight,
        margin=plan.margin(gate, step),
        requests=known,
        seconds=known / per_day * _DAY if known is not None and per_day is not None else None,
    )


def _exposed(runs: Sequence[Rehearsal]) -> float | None:
    exposed = median(run.candidate if run.failed is not None else math.inf for run in runs)
    return exposed if math.isfinite(exposed) else None


def smallest_harm(plan: Plan, gate: GateSpec, baseline: Baseline, *, runs: int = 15) -> float | None:
    """The relative harm that four of five rehearsals at the most informative step find; None above x10.

    Bisection on the harm with the same random numbers throughout; good to about a tenth of itself.
    """

    def is_found(harm: float) -> bool:
        stay_at = most_informative_step(plan)
        tried = rehearsals(
            plan, gate, baseline, runs=runs, seed=_SEED_OF_BISECTION, harm=harm, stay_at=stay_at, world=world
        )  # fmt: skip
        return sum(run.failed is not None for run in tried) >= _POWER * runs

    low, high, world = 1.0, 10.0, _world(plan, gate, baseline)
    if planned_requests(plan) <= 0 or not is_found(high):
        return None
    for _ in range(7):
        middle = 1 + math.sqrt((low - 1 or 1e-3) * (high - 1))
        low, high = (low, middle) if is_found(middle) else (middle, high)
    return high - 1
