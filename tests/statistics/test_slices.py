"""Harm in a part of the traffic is found and named long before the whole shows it; equal candidates are not stopped."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
import pytest
from numpy.random import Generator

from sluicegate.flows.gate.design import gate_question
from sluicegate.flows.gate.fold import GateState
from sluicegate.flows.gate.slice_wording import sliced_verdict
from sluicegate.flows.gate.slices import SlicedState, sliced_question
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.metric import Arm, Stratum, TallyRow
from sluicegate.registry.words.slices import Slice, sliced_name
from sluicegate.registry.words.tally import Tally
from sluicegate.registry.words.units import FULL
from tests.statistics.montecarlo import share

ALPHA = 0.05
SOAK = 300
RUNS = 40
_HEADERS = ("x-state", "x-plan")


def a_plan(alpha: float, weight: int, requests: int, *, is_sliced: bool = True) -> Plan:
    """The guardrail alone, with slices or as one has it without."""
    guardrail = {"metric": "errors", "alpha": alpha, **({"slices": [*_HEADERS]} if is_sliced else {})}
    return Plan.model_validate(
        {
            "model": "m", "metrics": {"errors": {"source": "status"}}, "steps": [{"weight": weight / 100}],
            "guardrails": [guardrail], "expect": {"requests_per_day": requests},
        }
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class World:
    """Traffic of many states, each with a rate of its own, and three plans; harm sits in one state."""

    requests: int = 6_000
    weight: int = 5_000
    rate: float = 0.05
    states: int = 20
    part: float = 0.0
    """The share of the traffic that is harmed."""
    harm: float = 1.0

    @property
    def shares(self) -> np.ndarray:
        """Of the states, the harmed one first; the others fall like 1 / rank."""
        others = 1 / np.arange(1, self.states)
        return np.concatenate(([self.part or 0.05], (1 - (self.part or 0.05)) * others / others.sum()))

    def looks(self, rng: Generator) -> Iterator[tuple[TallyRow, ...]]:
        """New rows of each hundred requests, and then of each fortieth of them."""
        seen = 0
        rates = self.rate * rng.uniform(0.5, 1.5, self.states)
        rates[0] = self.rate
        while seen < self.requests:
            new = min(max(100, seen // 40), self.requests - seen)
            yield tuple(self._rows(rng, new, rates, seen))
            seen += new

    def _rows(self, rng: Generator, new: int, rates: np.ndarray, seen: int) -> Iterator[TallyRow]:
        mine = rng.random(new) < self.weight / FULL
        state = rng.choice(self.states, new, p=self.shares)
        plan = rng.choice(3, new, p=(0.7, 0.25, 0.05))
        harm = np.where(mine & (state == 0), self.harm, 1.0)
        failed = rng.random(new) < np.minimum(rates[state] * harm, 1.0)
        for arm, ours in ((Arm.STABLE, ~mine), (Arm.CANDIDATE, mine)):
            yield _row("errors", arm, self.weight, seen, failed[ours])
            for header, of, many in (("x-state", state, self.states), ("x-plan", plan, 3)):
                for value in range(many):
                    inside = ours & (of == value)
                    if inside.any():
                        name = sliced_name("errors", Slice(header, str(value)))
                        yield _row(name, arm, self.weight, seen, failed[inside])


def _row(metric: str, arm: Arm, weight: int, seen: int, failed: np.ndarray) -> TallyRow:
    stratum = Stratum(epoch=1, bucket=300 * (seen // 1_000))
    return TallyRow(
        metric=metric, stratum=stratum, weight=weight, arm=arm, tally=Tally.from_events(failed.size, int(failed.sum()))
    )


EQUAL: dict[str, World] = {
    "fifty states": World(states=50),
    "few requests at a small weight": World(requests=20_000, weight=500, rate=0.02),
    "rare errors": World(requests=20_000, rate=0.005),
    "common errors": World(rate=0.3, states=60),
}
HARM: dict[str, World] = {
    f"{part:.0%} x{harm}": World(requests=400_000, rate=0.02, part=part, harm=harm)
    for part in (0.02, 0.05)
    for harm in (3, 5)
}


def begun(world: World, alpha: float, requests: int) -> SlicedState:
    plan = a_plan(alpha, world.weight, requests)
    return SlicedState.begin(sliced_question(plan, plan.guardrails[0]), ())


def has_found(state: SlicedState) -> bool:
    return state.whole.failed_at is not None or any(each.failed_at for each in state.slices.values())


def is_stopped(world: World, rng: Generator) -> bool:
    """Whether an equal candidate is, at any look."""
    state = begun(world, ALPHA, world.requests)
    for rows in world.looks(rng):
        state = state.look(rows)
        if has_found(state):
            return True
    return False


def found_after(world: World, rng: Generator, alpha: float, at_most: float) -> tuple[float, float, str]:
    """Requests until a guardrail with slices finds harm, and until one without does, on the same traffic.

    The latter is asked no longer than `at_most` times the former. Besides, what the former's verdict says.
    """
    state, plan = begun(world, alpha, 50_000), a_plan(alpha, world.weight, 50_000, is_sliced=False)
    whole = GateState.begin(gate_question(plan, plan.guardrails[0], guardrail=True))
    seen, sliced, plain, reason = 0, math.inf, math.inf, ""
    for rows in world.looks(rng):
        own = tuple(row for row in rows if row.metric == "errors")
        seen += sum(row.tally.n for row in own)
        if sliced == math.inf:
            state = state.look(rows)
            sliced, reason = (seen, sliced_verdict(state, 0).reason) if has_found(state) else (sliced, reason)
        if plain == math.inf:
            whole = whole.look(own)
            plain = seen if whole.failed_at is not None else plain
        if seen > at_most * sliced or max(sliced, plain) < math.inf:
            break
    return sliced, plain, reason


@pytest.mark.parametrize("name", ["fifty states"])
def test_equal_candidates_are_stopped_no_more_often_than_alpha(name: str) -> None:
    world = replace(EQUAL[name], requests=2_000)
    assert share(lambda rng: is_stopped(world, rng), runs=4, seed=1).at_least <= ALPHA


def test_harm_in_a_slice_is_found_and_named_before_the_whole_shows_it() -> None:
    runs = [found_after(HARM["5% x5"], np.random.default_rng((2, each)), 0.01, at_most=2) for each in range(2)]
    sliced, whole, reasons = zip(*runs, strict=True)
    assert max(sliced) < 25_000
    assert median(whole) > 2 * median(sliced)
    assert all(reason.startswith("errors of x-state=0 are ") for reason in reasons)


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", EQUAL)
def test_equal_candidates_are_stopped_no_more_often_than_alpha_over_all_slices(name: str) -> None:
    seen = share(lambda rng: is_stopped(EQUAL[name], rng), runs=SOAK, seed=3)
    print(f"\n{name}: {seen}")
    assert seen.at_least <= ALPHA


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", HARM)
def test_harm_in_a_slice_needs_a_third_of_the_requests_at_most(name: str) -> None:
    runs = [found_after(HARM[name], np.random.default_rng((4, each)), 0.01, at_most=10) for each in range(RUNS)]
    sliced, whole, reasons = zip(*runs, strict=True)
    named = sum(reason.startswith("errors of x-state=0 are ") for reason in reasons)
    ratio = median(whole) / median(sliced)
    print(f"\n{name}: {median(sliced):,} requests with slices, {ratio:.1f} times as many without; named in {named}")
    assert ratio >= 3
    assert named >= 0.8 * RUNS
