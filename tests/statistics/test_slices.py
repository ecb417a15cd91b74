"""Harm in a part of the traffic: found and named long before the whole shows it, and equal candidates are not stopped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
import pytest
from numpy.random import Generator

from sluicegate.flows.gate.fold import GateState
from sluicegate.flows.gate.slice_wording import sliced_verdict
from sluicegate.flows.gate.slices import SlicedState, sliced_question
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.metric import Arm, Stratum, TallyRow
from sluicegate.registry.words.slices import Slice, sliced_name
from sluicegate.registry.words.tally import Tally
from sluicegate.registry.words.units import FULL
from sluicegate.registry.words.verdict import Answer
from tests.statistics.montecarlo import share

ALPHA = 0.05
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
    users: int = 0
    """Each request is of one of so many users, who always err or never do; 0: requests are by themselves."""

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


def stopped_by(world: World, rng: Generator, alpha: float) -> str | None:
    """What the guardrail says harm was found in; None: nowhere."""
    plan = a_plan(alpha, world.weight, world.requests)
    state = SlicedState.begin(sliced_question(plan, plan.guardrails[0]), ())
    for rows in world.looks(rng):
        state = state.look(rows)
        if state.whole.failed_at is not None or any(each.failed_at for each in state.slices.values()):
            return sliced_verdict(state, 0).reason
    return None


def found_after(world: World, rng: Generator, alpha: float) -> tuple[float, float]:
    """Requests until a guardrail with slices finds harm, and until one without does, on the same traffic."""
    sliced, whole = (a_plan(alpha, world.weight, 50_000, is_sliced=each) for each in (True, False))
    state = SlicedState.begin(sliced_question(sliced, sliced.guardrails[0]), ())
    other = SlicedState.begin(sliced_question(whole, whole.guardrails[0]), ()).whole
    with_slices = without = float("inf")
    seen = 0
    for rows in world.looks(rng):
        own = tuple(row for row in rows if row.metric == "errors")
        seen += sum(row.tally.n for row in own)
        if with_slices == float("inf"):
            state = state.look(rows)
            if state.whole.failed_at is not None or any(each.failed_at for each in state.slices.values()):
                with_slices = seen
        other = other.look(own)
        if other.failed_at is not None:
            without = seen
            break
    return with_slices, without
