"""Certificate: a policy must be seen to block before it is trusted.

The plan's own gates are rehearsed on equal candidates and on planted harm, and shown data that must hold. A plan that
cannot catch the harm it declares, or that would stop a good candidate too often, is refused with reason and figures.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from scipy.special import betaincinv

from sluicegate.flows.gate.design import Question, gate_question, gates_of, planned_requests
from sluicegate.flows.gate.judge import next_look, verdict
from sluicegate.flows.rehearsal.rehearsal import (
    Baseline,
    Rehearsal,
    assumed_baseline,
    caveats,
    most_informative_step,
    moved_by,
    rehearsals,
)
from sluicegate.registry.plan.fields import GateSpec
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.metric import Arm, Stratum, TallyRow
from sluicegate.registry.words.tally import Tally
from sluicegate.registry.words.units import format_share
from sluicegate.registry.words.verdict import Answer

_POWER = 0.8
_PLANTED = 2.0
"""The harm that a gate without a margin is asked to catch."""
_SURE = 0.99
_NEVER = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was tried on a gate."""

    metric: str
    name: str
    ok: bool
    reason: str
    """What happened, with figures; where it is not ok, what to change."""


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What a plan's gates did when they were tried."""

    checks: tuple[Check, ...]
    caveats: tuple[str, ...] = ()
    """What the rehearsals do not know."""

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)


def certify(plan: Plan, baselines: Mapping[str, Baseline], *, runs: int = 30, seed: int = 1) -> Certificate:
    """Try every gate and guardrail of a plan. Metrics without a baseline are assumed to be typical of their kind."""
    checks: list[Check] = []
    for gate, guardrail in gates_of(plan):
        baseline = baselines.get(gate.metric) or assumed_baseline(plan.metrics[gate.metric])
        checks += _tried(_Trial(plan=plan, gate=gate, guardrail=guardrail, baseline=baseline, runs=runs, seed=seed))
    return Certificate(checks=tuple(checks), caveats=caveats(plan))


@dataclass(frozen=True, kw_only=True)
class _Trial:
    plan: Plan
    gate: GateSpec
    guardrail: bool
    baseline: Baseline
    runs: int
    seed: int

    @property
    def harm(self) -> float:
        """The harm that must be caught: the gate's least margin; else twice as bad, or what reaches its cap."""
        return self._margin or max(_PLANTED, self._at_cap or 0.0)

    @property
    def barred(self) -> float | None:
        """The harm that must not be promoted: what a margin rules out, or what reaches the cap; None: no such."""
        if self.guardrail:
            return None
        has_margin = self.plan.margin(self.gate, len(self.plan.steps) - 1) is not None
        return self.harm if has_margin else self._at_cap

    @property
    def _margin(self) -> float | None:
        margins = [rung.margin for rung in self.question.design.rungs if rung.margin > 0]
        return 1 + min(margins) if margins and not self.guardrail else None

    @property
    def _at_cap(self) -> float | None:
        """How much worse than stable a candidate is whose rate is the cap; None where stable is there itself."""
        worse = self.gate.below / self.baseline.mean if self.gate.below and self.baseline.mean > 0 else 0.0
        return worse if worse > 1 else None

    @property
    def question(self) -> Question:
        return gate_question(self.plan, self.gate)

    def stopped(self, harm: float, *, flipped: bool = False) -> int:
        """In how many rehearsals at the most informative step harm is found."""
        runs = self._rehearsals(harm, most_informative_step(self.plan), flipped=flipped)
        return sum(run.failed is not None for run in runs)

    def promoted(self, harm: float) -> int:
        """In how many rehearsals every step is passed."""
        return sum(len(run.passed) == len(self.plan.steps) for run in self._rehearsals(harm, None))

    def _rehearsals(self, harm: float, stay_at: int | None, *, flipped: bool = False) -> list[Rehearsal]:
        return rehearsals(
            self.plan, self.gate, self.baseline, runs=self.runs, seed=self.seed, harm=harm, stay_at=stay_at,
            flipped=flipped,
        )  # fmt: skip

    def check(self, name: str, ok: bool, reason: str) -> Check:
        return Check(metric=self.gate.metric, name=name, ok=ok, reason=reason)


def _tried(trial: _Trial) -> Iterator[Check]:
    yield _equal(trial)
    yield _planted(trial)
    if trial.barred is not None:
        yield _promoted(trial, trial.barred)
    if trial.question.tolerance is None:
        yield _swapped(trial)
    yield _no_data(trial)
    yield _broken_data(trial)


def _equal(trial: _Trial) -> Check:
    hits = trial.stopped(1.0)
    ok = _at_least(hits, trial.runs) <= trial.gate.alpha
    return trial.check(
        "equal candidate", ok, f"stopped in {hits} of {trial.runs} rehearsals, at most {trial.gate.alpha:g} allowed"
    )


def _planted(trial: _Trial) -> Check:
    hits = trial.stopped(trial.harm)
    ok = _at_most(hits, trial.runs) >= _POWER
    planned = planned_requests(trial.plan)
    reason = f"{_harm(trial, trial.harm)} is caught in {hits} of {trial.runs} rehearsals of {planned:,.0f} requests"
    advice = "; expect more requests, allow a later deadline, or declare a wider margin"
    return trial.check("planted harm", ok, reason + ("" if ok else advice))


def _promoted(trial: _Trial, harm: float) -> Check:
    hits = trial.promoted(harm)
    ok = _at_least(hits, trial.runs) <= trial.gate.beta
    return trial.check(
        "harm not promoted", ok, f"{_harm(trial, harm)} passed every step in {hits} of {trial.runs} rehearsals"
    )


def _swapped(trial: _Trial) -> Check:
    """The same harm in stable: a gate that looks the wrong way would stop the better candidate."""
    hits = trial.stopped(trial.harm, flipped=True)
    ok = _at_least(hits, trial.runs) <= trial.gate.alpha
    return trial.check("swapped arms", ok, f"the better candidate is stopped in {hits} of {trial.runs} rehearsals")


def _no_data(trial: _Trial) -> Check:
    answer = verdict(plan=trial.plan, gate=trial.gate, guardrail=trial.guardrail, step=0, looks=()).answer
    return trial.check("no data", answer is Answer.NO_DATA, f"without a row the gate answers {answer.label}")


def _broken_data(trial: _Trial) -> Check:
    """Excellent values, but one sum is not a number: nothing may pass."""
    broken = [dataclasses.replace(row, tally=row.tally._replace(total=math.nan)) for row in _excellent(trial)]
    look = next_look(
        rollout="certificate", plan=trial.plan, gate=trial.gate, guardrail=trial.guardrail, step=0, looks=(),
        rows=broken, watermark=0, at=_NEVER,
    )  # fmt: skip
    holds = look is None or look.verdict.answer is Answer.NO_DATA
    return trial.check("values that are no numbers", holds, "the gate holds" if holds else "the gate does not hold")


def _excellent(trial: _Trial) -> Iterator[TallyRow]:
    n = 10_000
    for name in trial.question.names:
        for arm, level in ((Arm.STABLE, trial.baseline.mean), (Arm.CANDIDATE, 0.0)):
            yield TallyRow(
                metric=name, stratum=Stratum(epoch=1, bucket=0), weight=5000, arm=arm,
                tally=Tally.from_events(n, round(n * level)),
            )  # fmt: skip


def _harm(trial: _Trial, harm: float) -> str:
    if trial.question.tolerance is not None:
        return f"a candidate of whose predictions {format_share(round(moved_by(harm), 4))} lie elsewhere"
    return f"a candidate {format_share(round(harm - 1, 4))} worse"


def _at_least(hits: int, runs: int) -> float:
    return float(betaincinv(hits, runs - hits + 1, 1 - _SURE)) if hits else 0.0


def _at_most(hits: int, runs: int) -> float:
    return float(betaincinv(hits + 1, runs - hits, _SURE)) if hits < runs else 1.0
