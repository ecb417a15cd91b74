"""Rehearsal: one gate of a plan on simulated traffic, from the first step to its verdict. Pure.

Forecasts and certificates rest on it; randomness is passed in. The gate itself judges, on its own grid.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.random import Generator
from scipy.special import gammaincinv

from sluicegate.flows.gate.cells import Rows
from sluicegate.flows.gate.design import Question, gate_question, moves_threshold, per_row, planned_requests
from sluicegate.flows.gate.fold import GateState
from sluicegate.flows.gate.wording import gate_verdict
from sluicegate.flows.rehearsal.world import Cohort, World, draw_units
from sluicegate.flows.stats.pair import Pair
from sluicegate.flows.stats.populations import Durations, Events, Losses, Population
from sluicegate.registry.plan.fields import CAP_QUANTILE, GateSpec, MetricSpec, Score, Source
from sluicegate.registry.plan.limits import TimeLimit, limit_text
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.metric import (
    LEVELS,
    REQUESTS,
    Arm,
    Stratum,
    TallyRow,
    Worse,
    capped_name,
    exceedance_name,
    level_name,
)
from sluicegate.registry.words.tally import Tally, UnitSums
from sluicegate.registry.words.units import FULL
from sluicegate.registry.words.verdict import Answer

ORDINARY = World()
_TAIL_SIGMA = 0.5
"""How durations are spread (standard deviation of the logarithm) around a latency threshold."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What stable's values of a metric are like."""

    mean: float
    sd: float
    assumed: bool = False
    """Whether nobody has measured it."""
    alike: float = 1.0
    """How many times as many requests are needed because units return: 1 + (r - 1) c for r requests of correlation
    c."""

    @classmethod
    def from_tally(cls, tally: Tally, units: UnitSums = UnitSums(), origin: float = 0.0) -> Baseline | None:  # noqa: B008
        """The baseline by a tally of stable and its sums by unit; `origin` was subtracted from the values. None for
        fewer than 100 rows."""
        if tally.n < 100:
            return None
        mean = tally.total / tally.n
        variance = max(tally.squares / tally.n - mean**2, 0.0)
        by_unit = units.linearised(units.x / units.n, 1.0).squares / units.n if units.n else 0.0
        alike = max(by_unit / variance, 1.0) if variance > 0 else 1.0
        return cls(mean=mean + origin, sd=math.sqrt(variance), alike=alike)


_TYPICAL: dict[Score, tuple[float, float]] = {
    Score.LOG_LOSS: (0.5, 0.45),
    Score.BRIER: (0.16, 0.2),
    Score.ZERO_ONE: (0.2, 0.4),
    Score.ABSOLUTE_ERROR: (1.0, 1.0),
    Score.SQUARED_ERROR: (1.0, 2.0),
    Score.OUTCOME: (1.0, 1.0),
}


def baseline_of(plan: Plan, gate: GateSpec, measured: Mapping[str, Baseline]) -> Baseline:
    """The measured baseline of a gate's metric, or an assumed one. How often stable is slower than a limit in seconds
    is not known: half as often as the limit allows is assumed."""
    if isinstance(gate.below, TimeLimit):
        rate = (plan.limit(gate) or 0.0) / 2
        return Baseline(mean=rate, sd=math.sqrt(rate * (1 - rate)), assumed=True)
    return measured.get(gate.metric) or assumed_baseline(plan.metrics[gate.metric])


def assumed_baseline(spec: MetricSpec) -> Baseline:
    """The assumed baseline of a metric that nobody has measured."""
    match spec.source:
        case Source.STATUS | Source.CONTRACT | Source.DISAGREEMENT:
            rate = 0.005
        case Source.PREDICTION:
            rate = 0.5
        case Source.LATENCY if spec.quantile is None:
            return Baseline(mean=1.0, sd=0.6, assumed=True)
        case Source.LATENCY:
            rate = 1 - (spec.quantile or 0.0)
        case Source.OUTCOME:
            mean, sd = _TYPICAL[spec.score or Score.OUTCOME]
            return Baseline(mean=spec.origin or mean, sd=sd, assumed=True)
    return Baseline(mean=rate, sd=math.sqrt(rate * (1 - rate)), assumed=True)


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """How one simulated rollout went for one gate. Rows are requests that have their value."""

    passed: tuple[int, ...]
    """The number of all rows when each step passed; shorter than the plan if the rollout did not get that far."""
    failed: int | None
    """The number of all rows when harm was found."""
    candidate: int
    """The candidate's rows until the end."""


def rehearse(
    plan: Plan, gate: GateSpec, baseline: Baseline, rng: Generator, *, harm: float = 1.0, stay_at: int | None = None,
    flipped: bool = False, world: World = ORDINARY,
) -> Rehearsal:  # fmt: skip
    """One rollout whose candidate's mean is `harm` times as bad; it ends on a verdict or with the planned requests.

    `stay_at`: the step that is never left, as for a guardrail. `flipped`: stable is the worse build.
    """
    question = gate_question(plan, gate, guardrail=stay_at is not None)
    if stay_at is not None:
        question = replace(question, design=replace(question.design, rungs=()))
    good, bad = (
        _rates(baseline, harm) if question.is_absolute else populations(plan.metrics[gate.metric], baseline, harm)
    )
    stable, candidate = (bad, good) if flipped else (world.stable or good, world.candidate or bad)
    state, step = GateState.begin(question, by_unit=world.rows_each > 1), stay_at or 0
    passed, due, requests, mine = list[int](), list[Cohort](), 0, 0
    for point in question.grid:
        while step < len(plan.steps) and stay_at is None and _has_passed(state, step):
            passed.append(round(requests / world.worth))
            step += 1
        if step == len(plan.steps) or state.failed_at is not None or requests >= planned_requests(plan) * world.worth:
            break
        weight = plan.steps[step].weight
        coming = sum(sum(cohort.sizes) * per_row(cohort.weight) for cohort in due)
        new = math.ceil((point - state.information - coming) / (per_row(weight) or per_row(FULL // 2)))
        if new <= 0:
            continue
        of_candidate = int(rng.binomial(new, weight / FULL))
        requests, mine = requests + new, mine + of_candidate
        stratum = Stratum(epoch=step + 1, bucket=requests)
        cohort = Cohort(at=requests, stratum=stratum, weight=weight, sizes=(new - of_candidate, of_candidate))
        due += cohort.lumps(rng, world.delay * world.worth)
        rows = _requests(cohort) if question.comes_late and world.delay else ()
        for come in (each for each in due if each.at <= requests):
            rows += _values(question, come, world, (stable, candidate), baseline, 1.0 if flipped else harm, rng)
        due = [each for each in due if each.at > requests]
        state = state.look(rows)
    return Rehearsal(
        passed=tuple(passed), failed=round(requests / world.worth) if state.failed_at else None,
        candidate=round(mine / world.worth),
    )  # fmt: skip


def _requests(cohort: Cohort) -> Rows:
    """The requests themselves, before their labels arrive."""
    return tuple(
        TallyRow(metric=REQUESTS, stratum=cohort.stratum, weight=cohort.weight, arm=arm, tally=Tally(n=n))
        for arm, n in zip(Arm, cohort.sizes, strict=True)
    )


def _values(
    question: Question, cohort: Cohort, world: World, drawn: tuple[Population, Population], baseline: Baseline,
    harm: float, rng: Generator,
) -> Rows:  # fmt: skip
    """The values of a cohort, as a gate reads them."""
    if world.rows_each > 1:
        return tuple(
            TallyRow(
                metric=question.metric, stratum=cohort.stratum, weight=cohort.weight, arm=arm, tally=tally, units=units
            )
            for arm, n, population in zip(Arm, cohort.sizes, drawn, strict=True)
            for tally, units in [draw_units(rng, population, n, world.rows_each)]
        )
    pair = cohort.draw(rng, *drawn)
    rows = dict[str, Pair]({question.metric: pair})
    rows |= _moved(question, pair, baseline, harm, rng) if question.design.moves_threshold else {}
    rows |= _above_levels(question, pair, harm, rng) if question.levels else {}
    return _tallied(rows, cohort.stratum, cohort.weight)


def _tallied(rows: Mapping[str, Pair], stratum: Stratum, weight: int) -> Rows:
    """The rows as a gate reads them."""
    return tuple(
        TallyRow(metric=name, stratum=stratum, weight=weight, arm=arm, tally=tally)
        for name, pair in rows.items()
        for arm, tally in ((Arm.STABLE, pair.stable), (Arm.CANDIDATE, pair.candidate))
    )


def with_assumed_cap(plan: Plan, metric: str, baseline: Baseline) -> Plan:
    """The plan with the cap that would be frozen if stable's values had a gamma distribution with this baseline's mean
    and sd."""
    if not plan.metrics[metric].has_open_cap or not (baseline.mean and baseline.sd):
        return plan
    shape = (baseline.mean / baseline.sd) ** 2
    cap = float(gammaincinv(shape, CAP_QUANTILE)) * abs(baseline.mean) / shape
    return plan.with_caps({capped_name(metric): cap})


def rehearsals(
    plan: Plan, gate: GateSpec, baseline: Baseline, *, runs: int, seed: int, harm: float = 1.0,
    stay_at: int | None = None, flipped: bool = False, world: World = ORDINARY,
) -> list[Rehearsal]:  # fmt: skip
    """Rehearsals with random numbers of their own; the same seed gives every harm the same numbers."""
    plan = with_assumed_cap(plan, gate.metric, baseline)
    return [
        rehearse(
            plan, gate, baseline, np.random.default_rng((seed, run)), harm=harm, stay_at=stay_at, flipped=flipped,
            world=world,
        )
        for run in range(runs)
    ]  # fmt: skip


def caveats(plan: Plan) -> tuple[str, ...]:
    """What a rehearsal of this plan does not know, in words: how late labels arrive, and how often users return."""
    gated = dict.fromkeys(gate.metric for gate in (*plan.gates, *plan.guardrails))
    unknown = (name for name in gated if plan.metrics[name].source is Source.OUTCOME)
    late = ", ".join(name for name in unknown if not plan.metrics[name].matures_after)
    caveat = (
        f"{late}: forecast as if labels came at once, because the plan has no matures_after; with late labels a verdict"
    )
    open_caps = ", ".join(name for name in gated if plan.metrics[name].has_open_cap)
    frozen = (
        f"{open_caps}: the plan declares no cap, so one is frozen from stable's values; rehearsed with what the mean "
        "and the spread make likely"
    )
    at_once = (*([f"{caveat} comes later by the same time"] if late else []), *([frozen] if open_caps else []))
    if plan.unit is None:
        return at_once
    returning = (
        f"simulated with one request for each {plan.unit}, or as often as they came in the model's last rollout. If "
        f"each {plan.unit} sends several requests, gates judge by {plan.unit} and need more requests: with r requests "
        "each, whose values have the correlation c, 1 + (r - 1) c times as many"
    )
    rates = [f"{gate.metric} below {limit_text(gate.below)}" for gate in plan.gates if gate.below is not None]
    by_row = (f"{rate} is counted by request, not by {plan.unit}: a few of them may dominate it" for rate in rates)
    return (*at_once, returning, *by_row)


def most_informative_step(plan: Plan) -> int:
    """The step with the most information per request, in which most of a rollout's requests arrive."""
    return max(range(len(plan.steps)), key=lambda step: per_row(plan.steps[step].weight))


def _has_passed(state: GateState, step: int) -> bool:
    """Whether the step passes. Only a verdict tells; but while a margin is open none is computed, because that takes
    most of the time."""
    fresh = state.fresh if state.question.fresh_at(step) is not None else None
    margins = [(state, state.question.margin(step)), *([(fresh, fresh.question.margin(0))] if fresh else [])]
    if any(margin is not None and each.trial.ruled_out(margin) is None for each, margin in margins):
        return False
    return gate_verdict(state, step).answer is Answer.PASS


def _rates(baseline: Baseline, harm: float) -> tuple[Population, Population]:
    """Stable's rate and the candidate's, which is compared with a limit: no threshold is moved."""
    return Events(rate=baseline.mean), Events(rate=min(baseline.mean * harm, 1.0))


def populations(spec: MetricSpec, baseline: Baseline, harm: float) -> tuple[Population, Population]:
    """Stable's values, and those of a candidate `harm` times as bad: in its mean or, for a latency quantile, in its
    durations."""
    factor = harm if spec.worse is Worse.HIGHER else 1 / harm
    cap = spec.bounds[1] if spec.bounds is not None else math.inf
    if moves_threshold(spec):
        slow = _tail(baseline.mean, harm)
        return Events(rate=baseline.mean), Events(rate=slow)
    if spec.is_binary:
        return Events(rate=baseline.mean), Events(rate=min(baseline.mean * factor, 1.0))
    if spec.source is Source.LATENCY:
        sigma = math.sqrt(math.log1p((baseline.sd / baseline.mean) ** 2))
        stable = Durations(mean=baseline.mean, sigma=sigma, cap=cap)
        return stable, replace(stable, mean=baseline.mean * factor)
    sd = max(baseline.sd, 1e-9 * baseline.mean)
    losses = Losses(mean=baseline.mean, sd=sd, cap=cap, origin=spec.origin)
    return losses, replace(losses, mean=baseline.mean * factor, sd=sd * math.sqrt(factor))


def _moved(question: Question, pair: Pair, baseline: Baseline, harm: float, rng: Generator) -> dict[str, Pair]:
    """The candidate's exceedances of the threshold moved by each margin."""
    moved, above = dict[str, Pair](), _tail(baseline.mean, harm)
    for margin in question.moved_by:
        share = _tail(baseline.mean, harm / (1 + margin)) / above
        events = int(rng.binomial(round(pair.candidate.total), min(share, 1.0)))
        moved[exceedance_name(question.metric, margin)] = Pair(candidate=Tally.from_events(pair.candidate.n, events))
    return moved


def moved_by(harm: float) -> float:
    """How far a drift of this size moves the share of predictions above a quantile of stable's, at most."""
    return max(abs(level - math.pow(level, harm)) for level in LEVELS)


def _above_levels(question: Question, pair: Pair, harm: float, rng: Generator) -> dict[str, Pair]:
    """Predictions above each level. Those below stable's quantile q are a share q of stable's, q ** harm of the
    candidate's."""
    stable = _above(rng, pair.stable.n, question.levels)
    candidate = _above(rng, pair.candidate.n, [level**harm for level in question.levels])
    return {
        level_name(question.metric, level): Pair(stable=mine, candidate=theirs)
        for level, mine, theirs in zip(question.levels, stable, candidate, strict=True)
    }


def _above(rng: Generator, n: int, levels: Sequence[float]) -> list[Tally]:
    """How many of n predictions lie above each level."""
    bounds = [0.0, *levels, 1.0]
    counts = rng.multinomial(n, [upper - lower for lower, upper in itertools.pairwise(bounds)])
    above = [int(counts[position:].sum()) for position in range(1, len(bounds) - 1)]
    return [Tally.from_events(n, events) for events in above]


def _tail(share: float, slower: float) -> float:
    """The share above the threshold that `share` exceeds, once durations (lognormal) are `slower` times as long."""
    z = NormalDist().inv_cdf(1 - min(max(share, 1e-12), 1 - 1e-12)) - math.log(slower) / _TAIL_SIGMA
    return max(0.5 * math.erfc(z / math.sqrt(2)), 1e-12)
