"""A gate on labels that come late, or not at all, by arm and by outcome."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sluicegate.flows.gate import judge as gate
from sluicegate.flows.gate.design import gate_question
from sluicegate.flows.gate.fold import fold
from sluicegate.registry.plan.fields import GateSpec
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.metric import REQUESTS, Arm, Stratum, TallyRow
from sluicegate.registry.words.tally import Tally
from sluicegate.registry.words.units import FULL
from sluicegate.registry.words.verdict import Look, Verdict

START = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
BUCKET = 300
_POLLED = 60.0
"""Seconds between looks at whether a grid point was passed."""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """When the labels of one build come. Rates are those of bad outcomes."""

    rate: float
    good: float = 1_200.0
    """Mean delay in seconds of labels that are good; exponential."""
    bad: float = 1_200.0
    lost: float = 0.0
    """Share of the bad ones that never come."""
    lost_good: float = 0.0
    """Share of the good ones that never come."""
    coverage: float = 1.0
    """Share of all that come at all."""

    def draw(self, rng: Generator, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Whether each is bad, and the seconds until its label."""
        bad = rng.random(n) < self.rate
        delay = rng.exponential(np.where(bad, self.bad, self.good))
        is_lost = rng.random(n) < 1 - self.coverage * np.where(bad, 1 - self.lost, 1 - self.lost_good)
        return bad.astype(float), np.where(is_lost, np.inf, delay)


def last_verdict(
    rng: Generator, plan: Plan, stable: Labels, candidate: Labels, *, seconds: float, per_second: float = 1.0,
    guardrail: bool = False, polled: float = _POLLED,
) -> Verdict:  # fmt: skip
    """The verdict that ends a rollout of one step, or the last one; with every call, through the gate's own door."""
    the_gate = (plan.guardrails if guardrail else plan.gates)[0]
    looks: list[Look] = []
    for at, rows in _cumulative(rng, plan, stable, candidate, seconds, per_second, polled):
        look = gate.next_look(
            rollout="r", plan=plan, gate=the_gate, guardrail=guardrail, step=0, looks=looks, rows=rows, watermark=0,
            at=datetime.fromtimestamp(START + at, UTC),
        )  # fmt: skip
        if look is None:
            continue
        looks.append(look)
        if look.verdict.answer in ("pass", "fail") or _are_unlike(plan, the_gate, guardrail, looks):
            break
    return looks[-1].verdict


def _are_unlike(plan: Plan, the_gate: GateSpec, guardrail: bool, looks: Sequence[Look]) -> bool:
    """Whether labels were found not to come alike: the gate then waits for ever."""
    question = gate_question(plan, the_gate, guardrail=guardrail)
    return fold(question, [look.rows for look in looks]).unlike_at is not None


def _cumulative(
    rng: Generator,
    plan: Plan,
    stable: Labels,
    candidate: Labels,
    seconds: float,
    per_second: float,
    polled: float,
) -> Iterator[tuple[float, list[TallyRow]]]:
    """The gate's rows, from look to look."""
    n, weight, matures = int(seconds * per_second), plan.steps[0].weight, plan.metrics["y"].matures_after
    asked = np.sort(rng.uniform(0, seconds, n))
    is_candidate = rng.random(n) < weight / FULL
    bucket = (asked // BUCKET).astype(int)
    bad, delay = np.zeros(n), np.zeros(n)
    for arm, labels in ((False, stable), (True, candidate)):
        mine = is_candidate == arm
        bad[mine], delay[mine] = labels.draw(rng, int(mine.sum()))
    counted_at = asked + np.maximum(delay, matures)
    for at in np.arange(polled, seconds, polled):
        rows = list[TallyRow]()
        for arm in Arm:
            mine = is_candidate == (arm is Arm.CANDIDATE)
            seen, come = mine & (asked <= at), mine & (counted_at <= at)
            requests, values = np.bincount(bucket[seen]), np.bincount(bucket[come])
            events = np.bincount(bucket[come], bad[come])
            for metric, tallies in (
                (REQUESTS, [Tally(n=int(each)) for each in requests]),
                ("y", [Tally.from_events(int(k), float(e)) for k, e in zip(values, events, strict=True)]),
            ):
                rows += [
                    TallyRow(
                        metric=metric, stratum=Stratum(epoch=1, bucket=int(START) + BUCKET * i), weight=weight, arm=arm,
                        tally=tally,
                    )
                    for i, tally in enumerate(tallies)
                    if tally.n
                ]  # fmt: skip
        yield float(at), rows
