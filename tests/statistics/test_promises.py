"""Promises beyond one metric at one weight: sample ratio, frozen thresholds, caps, several metrics, slow ramps.

As in `test_type_one`: a promise is broken when the 99 % lower bound of how often it failed exceeds its budget.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import numpy as np
import pytest
from numpy.random import Generator
from numpy.typing import NDArray

from sluicegate.flows.gate import judge as gate
from sluicegate.flows.stats.increment import Increment
from sluicegate.flows.stats.pair import Pair
from sluicegate.flows.stats.populations import Events, Losses, Population, split, tally_of
from sluicegate.flows.stats.rate_below import RateBelowTest
from sluicegate.flows.stats.sample_ratio import Arrivals, SampleRatioTest
from sluicegate.flows.stats.trial import Kind, Trial
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.metric import Arm, Stratum, TallyRow, exceedance_name
from sluicegate.registry.words.tally import Tally
from sluicegate.registry.words.verdict import Answer, Look
from tests.statistics.montecarlo import share
from tests.statistics.scenarios import design, fails, late, rows_at_looks

Run = Callable[[Generator], bool]
AT = datetime(2026, 1, 1, tzinfo=UTC)
SLOW_RAMP = (0.01, 0.02, 0.05)


def _mismatch(weights: tuple[float, ...], lost: float = 0.0) -> Run:
    """Whether rows are called mismatched; a share `lost` of the candidate's never arrives."""

    def run(rng: Generator) -> bool:
        test = SampleRatioTest.begin(0.01, 20_000 * weights[-1] * (1 - weights[-1]), reserve=0.0)
        seen = 0
        for new in rows_at_looks(20_000):
            weight = weights[min(seen * len(weights) // 20_000, len(weights) - 1)]
            mine = int(rng.binomial(new, weight))
            arrived = int(rng.binomial(mine, 1 - lost))
            test = test.look([Arrivals(share=weight, candidate=arrived, stable=new - mine)])
            seen += new
        return test.mismatch

    return run


def _frozen_threshold(history: int, slower: float, *, passes: bool) -> Run:
    """A p99 gate whose threshold is that of a finite history; candidates `slower` by this factor."""
    margin = 0.2
    asked = design(Kind.COUNT, 0.5, 20_000, margins=(margin,))

    def run(rng: Generator) -> bool:
        threshold = float(np.quantile(rng.lognormal(0.0, 0.6, history), 0.99))
        trial, information = Trial.begin(asked), 0.0
        for new in rows_at_looks(20_000):
            stable, candidate = rng.lognormal(0.0, 0.6, new // 2), slower * rng.lognormal(0.0, 0.6, new // 2)
            pair = Pair(stable=_above(stable, threshold), candidate=_above(candidate, threshold))
            moved = Pair(stable=pair.stable, candidate=_above(candidate, (1 + margin) * threshold))
            information += pair.information
            exceedances = Increment(pairs=[moved], information=information)
            trial = trial.look(Increment(pairs=[pair], information=information, at_margin={margin: exceedances}))
        return trial.ruled_out(margin) is not None if passes else trial.failed_at is not None

    return run


def _above(values: NDArray[np.float64], threshold: float) -> Tally:
    return tally_of((values > threshold).astype(float))


def _below_cap(rate: Callable[[float], float]) -> Run:
    """Whether a rate that moves, and is the cap at its least, is ever shown to be below it."""

    def run(rng: Generator) -> bool:
        test, n, ones = RateBelowTest(bound=0.02, beta=0.05), 0, 0
        for new in rows_at_looks(10_000):
            ones += int(rng.binomial(new, rate(n / 5_000)))
            n += new
            test = test.look(n, ones)
        return test.shown_at is not None

    return run


def _cycle(hour: float) -> float:
    return math.exp(0.9 * math.sin(2 * math.pi * hour))


def _slow_ramp(kind: Kind) -> Run:
    """Weights of 1, 2 and 5 % through days in which the rate moves by a factor of six."""

    def population(hour: float) -> Population:
        return Events(rate=0.02 * _cycle(hour)) if kind is Kind.COUNT else Losses(mean=0.5 * _cycle(hour), sd=0.4)

    asked = design(kind, 0.05, 30_000)

    def run(rng: Generator) -> bool:
        return fails(asked, _cycling(rng, population, delay=0.0))

    return run


def _slow_ramp_late(rng: Generator) -> bool:
    """The same with labels that come 3,000 rows later, most of them after the weight has moved on."""
    asked = design(Kind.MEAN, 0.05, 30_000)
    return fails(asked, _cycling(rng, lambda hour: Losses(mean=0.5 * _cycle(hour), sd=0.4), delay=3_000.0))


def _cycling(rng: Generator, population: Callable[[float], Population], delay: float) -> Iterator[Increment]:
    information, seen = 0.0, 0
    waiting: list[tuple[float, Pair]] = []
    for new in rows_at_looks(40_000):
        for part in np.array_split(np.arange(seen, seen + new), max(1, new // 400)):
            weight = SLOW_RAMP[min(int(part[0] * len(SLOW_RAMP) / 40_000), len(SLOW_RAMP) - 1)]
            same = population(part[0] % 10_000 / 10_000)
            due = part[0] + (rng.exponential(delay) if delay else 0.0)
            waiting.append((due, split(rng, part.size, weight, same, same)))
        seen += new
        arrived = [pair for due, pair in waiting if due <= seen]
        waiting = [(due, pair) for due, pair in waiting if due > seen]
        information += sum(pair.information for pair in arrived)
        yield Increment(pairs=arrived, information=information)


def _late_at_5(rng: Generator) -> bool:
    same = Losses(mean=0.55, sd=0.44)
    return fails(design(Kind.MEAN, 0.05, 20_000), late(rng, same, same, (0.01, 0.05), 20_000, 2_000))


THREE = Plan.model_validate(
    {
        "model": "m", "expect": {"requests_per_day": 20_000},
        "metrics": {
            "errors": {"source": "status"}, "p99": {"source": "latency", "quantile": 0.99},
            "cost": {"source": "outcome", "outcome": "cost", "score": "outcome"},
        },
        "gates": [
            {"metric": "cost", "alpha": 0.02, "beta": 0.05, "margin": "10%"},
            {"metric": "p99", "alpha": 0.015, "beta": 0.05, "margin": "20%"},
        ],
        "guardrails": [{"metric": "errors", "alpha": 0.015}],
        "steps": [{"weight": 5, "margins": {"cost": "100%", "p99": "100%"}}, {"weight": 50}],
    }
)  # fmt: skip


def ended(rng: Generator, *, costlier: float = 1.0) -> str:
    """How a rollout of three metrics ends that hang together: hard requests cost more, take longer and fail more."""
    cumulative: dict[tuple[str, Stratum, int, Arm], Tally] = {}
    looks: dict[str, list[Look]] = {"cost": [], "p99": [], "errors": []}
    passed = {"cost": False, "p99": False}
    step = 0
    for k, new in enumerate(rows_at_looks(20_000, first=200)):
        weight, stratum = THREE.steps[step].weight, Stratum(epoch=step + 1, bucket=k // 8)
        mine = int(rng.binomial(new, weight / 10_000))
        for arm, size, factor in ((Arm.STABLE, new - mine, 1.0), (Arm.CANDIDATE, mine, costlier)):
            for metric, values in _hard(rng, size, factor, _cycle(k / 20)).items():
                key = (metric, stratum, weight, arm)
                cumulative[key] = cumulative.get(key, Tally()) + _tally(values)
        rows = [TallyRow(metric=m, stratum=s, weight=w, arm=a, tally=t) for (m, s, w, a), t in cumulative.items()]
        for spec in (*THREE.gates, *THREE.guardrails):
            look = gate.next_look(
                rollout="r", plan=THREE, gate=spec, guardrail=spec in THREE.guardrails, step=step,
                looks=looks[spec.metric], rows=rows, watermark=k, at=AT,
            )  # fmt: skip
            looks[spec.metric] += [look] if look is not None else []
            if look is not None and look.verdict.answer is Answer.FAIL:
                return "stopped"
            passed[spec.metric] = (
                look.verdict.answer is Answer.PASS if look is not None else passed.get(spec.metric, True)
            )
        if passed["cost"] and passed["p99"]:
            step, passed = step + 1, {"cost": False, "p99": False}
            if step == len(THREE.steps):
                return "promoted"
    return "held"


def _hard(rng: Generator, size: int, costlier: float, hour: float) -> dict[str, NDArray[np.float64]]:
    hardness = rng.gamma(2.0, 0.5, size)
    duration = rng.lognormal(-0.3 + 0.3 * hardness, 0.4)
    found = {
        "cost": costlier * hour * hardness * rng.gamma(4.0, 0.25, size),
        "errors": (rng.random(size) < 0.01 * hour * hardness).astype(float),
    }
    thresholds = {"p99": 2.6, exceedance_name("p99", 0.2): 2.6 * 1.2, exceedance_name("p99", 1.0): 2.6 * 2}
    return found | {name: (duration > above).astype(float) for name, above in thresholds.items()}


def _tally(values: NDArray[np.float64]) -> Tally:
    return Tally(
        n=values.size, total=float(values.sum()), squares=float(values @ values), cubes=float((values**3).sum())
    )


PROMISES: dict[str, tuple[float, Run]] = {
    "sample ratio at 50 %": (0.01, _mismatch((0.5,))),
    "sample ratio at 5 %": (0.01, _mismatch((0.05,))),
    "sample ratio at 1 %": (0.01, _mismatch((0.01,))),
    "sample ratio on a ramp": (0.01, _mismatch((0.01, 0.05, 0.25, 0.5))),
    "threshold of 300 values, equal": (0.05, _frozen_threshold(300, 1.0, passes=False)),
    "threshold of 300 values, slower by the margin": (0.05, _frozen_threshold(300, 1.2, passes=True)),
    "threshold of 5,000 values, equal": (0.05, _frozen_threshold(5_000, 1.0, passes=False)),
    "threshold of 5,000 values, slower by the margin": (0.05, _frozen_threshold(5_000, 1.2, passes=True)),
    "a rate at the cap": (0.05, _below_cap(lambda _: 0.02)),
    "a rate that comes down to the cap": (0.05, _below_cap(lambda day: 0.02 * _cycle(day) * math.exp(0.9))),
    "counts at 1 to 5 % through days": (0.05, _slow_ramp(Kind.COUNT)),
    "means at 1 to 5 % through days": (0.05, _slow_ramp(Kind.MEAN)),
    "late labels at 1 to 5 % through days": (0.05, _slow_ramp_late),
    "late labels at 1 and 5 %": (0.05, _late_at_5),
    "three metrics, equal": (0.05, lambda rng: ended(rng) == "stopped"),
    "three metrics, one at its margin": (0.05, lambda rng: ended(rng, costlier=1.1) == "promoted"),
}  # fmt: skip
QUICK = {
    "sample ratio on a ramp": 60, "threshold of 300 values, slower by the margin": 30, "a rate at the cap": 150,
    "late labels at 1 to 5 % through days": 25, "three metrics, equal": 6,
}  # fmt: skip


@pytest.mark.parametrize("name", QUICK)
def test_a_promise_is_kept(name: str) -> None:
    budget, run = PROMISES[name]
    seen = share(run, runs=QUICK[name], seed=11)
    assert seen.at_least <= budget, f"{seen}"


def test_lost_rows_are_found() -> None:
    assert share(_mismatch((0.5,), lost=0.2), runs=20, seed=12).hits == 20


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", PROMISES)
def test_every_promise_is_kept_in_a_thousand_runs(name: str) -> None:
    budget, run = PROMISES[name]
    seen = share(run, runs=1000, seed=13)
    print(f"\n{name}: {seen}")
    assert seen.at_least <= budget, f"{seen}"
