"""Certificate: a plan's gates must be shown to block before they are trusted.

The plan's own gates are rehearsed on equal candidates and on planted harm, and given data on which nothing may pass;
then again in worlds in which such tests go wrong: means that rest on few rows, heavy tails, late labels, users who
return. A plan that cannot catch the harm it declares, or would stop a good candidate too often, is refused with reason
and figures.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from scipy.special import betaincinv
from scipy.stats import binom

from sluicegate.flows.gate.design import Question, gate_question, gates_of, planned_requests
from sluicegate.flows.gate.judge import next_look, verdict
from sluicegate.flows.rehearsal.rehearsal import (
    ORDINARY,
    Baseline,
    Rehearsal,
    baseline_of,
    caveats,
    most_informative_step,
    moved_by,
    rehearsals,
    with_assumed_cap,
)
from sluicegate.flows.rehearsal.world import Rare, World
from sluicegate.flows.stats.populations import Durations
from sluicegate.flows.stats.trial import Kind
from sluicegate.registry.plan.fields import GateSpec, Source
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.plan.staging import staged
from sluicegate.registry.words.metric import Arm, Stratum, TallyRow, Worse
from sluicegate.registry.words.tally import Tally
from sluicegate.registry.words.units import format_share
from sluicegate.registry.words.verdict import Answer

_POWER = 0.8
_PLANTED = 2.0
"""The harm that a gate without a margin must catch, in multiples of stable's value."""
_BROKEN = 3.0
"""The rate that must be caught, in multiples of its limit."""
_SURE = 0.95
"""The chance that a gate which keeps its budget, or its power, is certified; and that a gate which misses it by as much
as a check says is refused."""
RUNS = 110
"""Enough runs that a false-alarm rate of .15 where .05 was promised, or a power of .6, is certified at most one time in
twenty: Bin(110, .15) is 9 or less, the most that is allowed, with a chance of .03, and Bin(110, .6) is 81 or more with
a chance of .002."""
_SWAPPED = 30
"""Runs with swapped arms. Few are enough: a gate that looks the wrong way stops nearly all."""
_FEWER = 24
"""Runs in each of the other worlds: tests that go wrong there stop, or pass, three in ten or more."""
_RARE, _HEAVY, _LATE = 0.01, 1.5, 0.05
"""The share of rows that a mean rests on; the spread of the logarithm; the delay as a share of the planned requests."""
_NEVER = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Check:
    """The result of one check of a gate."""

    metric: str
    name: str
    ok: bool
    reason: str
    """What happened, with figures; if it is not ok, what to change."""


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """The results of all checks of a plan's gates."""

    checks: tuple[Check, ...]
    caveats: tuple[str, ...] = ()
    """What the rehearsals cannot know."""

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)


def certify(
    plan: Plan, baselines: Mapping[str, Baseline], *, runs: int = RUNS, seed: int = 1,
    on_check: Callable[[Check], None] = lambda _: None,
) -> Certificate:  # fmt: skip
    """Check every gate and guardrail of a plan; `on_check` is called with each check when it is done.

    Metrics without a baseline are assumed to be typical of their kind.
    """
    plan, checks = staged(plan, plan.strategy) if plan.switches else plan, list[Check]()
    for gate, guardrail in gates_of(plan):
        baseline = baseline_of(plan, gate, baselines)
        whole = with_assumed_cap(plan, gate.metric, baseline)
        trial = _Trial(plan=whole, gate=gate, guardrail=guardrail, baseline=baseline, runs=runs, seed=seed)
        for check in _checks(trial):
            on_check(check)
            checks.append(check)
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
        """The harm that must be caught: the gate's smallest margin; else twice as bad, or what reaches the limit if
        that is more."""
        if self.question.is_absolute:
            return _BROKEN * (self._at_limit or 1.0)
        return self._margin or max(_PLANTED, self._at_limit or 0.0)

    @property
    def barred(self) -> float | None:
        """The harm that must not be promoted: what a margin rules out, or what reaches the limit; None if there is
        neither."""
        if self.guardrail:
            return None
        if self.question.is_absolute:
            return self._at_limit
        has_margin = self.plan.margin(self.gate, len(self.plan.steps) - 1) is not None
        return self.harm if has_margin else self._at_limit

    @property
    def _margin(self) -> float | None:
        margins = [rung.margin for rung in self.question.design.rungs if rung.margin > 0]
        return 1 + min(margins) if margins and not self.guardrail else None

    @property
    def _at_limit(self) -> float | None:
        """The limit in multiples of stable's rate; None without a limit, or if stable itself reaches it."""
        limit = self.plan.limit(self.gate)
        worse = limit / self.baseline.mean if limit and self.baseline.mean > 0 else 0.0
        return worse if worse > 1 else None

    @property
    def question(self) -> Question:
        return gate_question(self.plan, self.gate)

    def stopped(self, harm: float, *, flipped: bool = False, world: World = ORDINARY) -> int:
        """The number of rehearsals at the most informative step in which harm is found."""
        runs = self._rehearsals(harm, most_informative_step(self.plan), flipped=flipped, world=world)
        return sum(run.failed is not None for run in runs)

    def promoted(self, harm: float, world: World = ORDINARY) -> int:
        """The number of rehearsals in which every step is passed."""
        return sum(len(run.passed) == len(self.plan.steps) for run in self._rehearsals(harm, None, world=world))

    def _rehearsals(
        self, harm: float, stay_at: int | None, *, flipped: bool = False, world: World = ORDINARY
    ) -> list[Rehearsal]:  # fmt: skip
        return rehearsals(
            self.plan, self.gate, self.baseline, runs=self.runs, seed=self.seed, harm=harm, stay_at=stay_at,
            flipped=flipped, world=world,
        )  # fmt: skip

    def check(self, name: str, ok: bool, reason: str) -> Check:
        return Check(metric=self.gate.metric, name=name, ok=ok, reason=reason)


def _checks(trial: _Trial) -> Iterator[Check]:
    yield _equal(trial)
    yield _planted(trial)
    if trial.barred is not None:
        yield _promoted(trial, trial.barred)
    yield from _in_other_worlds(dataclasses.replace(trial, runs=min(trial.runs, _FEWER)))
    if trial.question.tolerance is None:
        yield _swapped(trial)
    yield _no_data(trial)
    yield _broken_data(trial)


def _in_other_worlds(trial: _Trial) -> Iterator[Check]:
    """Checks on data on which tests go wrong that were only tried on tame data."""
    spec, plan = trial.plan.metrics[trial.gate.metric], trial.plan
    if trial.question.design.kind is Kind.MEAN and spec.bounds is not None and spec.origin == 0 < spec.bounds[1]:
        mean, cap = trial.baseline.mean, spec.bounds[1]
        few = partial(_few_rows, mean, cap)
        yield _equal(trial, "a mean that rests on few rows", few(1.0))
        wide = Durations(mean=mean, sigma=_HEAVY, cap=cap)
        yield _equal(trial, f"heavy tails up to {cap:g}", World(stable=wide, candidate=wide))
        if trial.barred is not None and spec.worse is Worse.HIGHER:
            yield _promoted(trial, trial.barred, "in few rows", few(trial.barred))
    if spec.source is Source.OUTCOME:
        late = World(delay=_LATE * planned_requests(plan))
        yield _equal(trial, "labels that come late", late)
        if trial.barred is not None:
            yield _promoted(trial, trial.barred, "with labels that come late", late)
    if plan.unit is not None and trial.question.design.kind is Kind.COUNT and not trial.question.names[1:]:
        yield _equal(trial, f"five requests of each {plan.unit}", World(rows_each=5.0))


def _few_rows(mean: float, cap: float, harm: float) -> World:
    """A candidate whose mean is `harm` times stable's and rests on one row in a hundred, or on as few as the cap
    allows."""
    share = min(max(_RARE, harm * mean / cap), 1.0)
    return World(stable=Rare(mean=mean, share=max(0.5, share)), candidate=Rare(mean=harm * mean, share=share))


def _equal(trial: _Trial, where: str = "", world: World = ORDINARY) -> Check:
    hits = trial.stopped(1.0, world=world)
    most = _most(trial.runs, trial.gate.alpha)
    reason = f"stopped in {hits} of {trial.runs} simulated rollouts; alpha {trial.gate.alpha:g} allows {most}"
    return trial.check(_named("equal candidate", where), hits <= most, reason + _blind_to(most, trial.runs))


def _planted(trial: _Trial) -> Check:
    hits = trial.stopped(trial.harm)
    least = _least(trial.runs, _POWER)
    ok = hits >= least
    planned = planned_requests(trial.plan)
    reason = (
        f"{_harm(trial, trial.harm)} is caught in {hits} of {trial.runs} simulated rollouts of {planned:,.0f} requests"
    )
    reason += (
        f"; {least} are needed (a gate with a power of {_passing(least, trial.runs):.0%} gets there one time in twenty)"
    )
    advice = "; expect more requests, allow a later deadline, or declare a wider margin"
    return trial.check("planted harm", ok, reason + ("" if ok else advice))


def _named(name: str, where: str) -> str:
    return f"{name}, {where}" if where else name


def _promoted(trial: _Trial, harm: float, where: str = "", world: World = ORDINARY) -> Check:
    hits = trial.promoted(harm, world)
    most = _most(trial.runs, trial.gate.beta)
    reason = f"{_harm(trial, harm)} passed every step in {hits} of {trial.runs} simulated rollouts; beta allows {most}"
    return trial.check(_named("harm not promoted", where), hits <= most, reason + _blind_to(most, trial.runs))


def _swapped(trial: _Trial) -> Check:
    """The same harm in stable: a gate that looks the wrong way would stop the better candidate."""
    trial = dataclasses.replace(trial, runs=min(trial.runs, _SWAPPED))
    hits = trial.stopped(trial.harm, flipped=True)
    ok = hits <= _most(trial.runs, trial.gate.alpha)
    return trial.check(
        "swapped arms",
        ok,
        f"the better candidate is stopped in {hits} of {trial.runs} simulated rollouts",
    )


def _no_data(trial: _Trial) -> Check:
    answer = verdict(plan=trial.plan, gate=trial.gate, guardrail=trial.guardrail, step=0, looks=()).answer
    return trial.check("no data", answer is Answer.NO_DATA, f"without any data the gate says {answer.label}")


def _broken_data(trial: _Trial) -> Check:
    """Excellent values, but one sum is not a number: nothing may pass."""
    broken = [dataclasses.replace(row, tally=row.tally._replace(total=math.nan)) for row in _excellent(trial)]
    look = next_look(
        rollout="certificate", plan=trial.plan, gate=trial.gate, guardrail=trial.guardrail, step=0, looks=(),
        rows=broken, watermark=0, at=_NEVER,
    )  # fmt: skip
    holds = look is None or look.verdict.answer is Answer.NO_DATA
    return trial.check(
        "values that are not numbers",
        holds,
        "nothing passes" if holds else "the gate passes, but must not",
    )


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
        return f"a candidate with {format_share(round(moved_by(harm), 4))} of its predictions elsewhere"
    return f"a candidate {format_share(round(harm - 1, 4))} worse"


def _most(runs: int, rate: float) -> int:
    """The number of hits that a gate whose rate is at most this exceeds at most one time in twenty."""
    return int(binom.ppf(_SURE, runs, rate))


def _least(runs: int, rate: float) -> int:
    """The number of hits that a gate whose rate is at least this misses at most one time in twenty."""
    return int(binom.ppf(1 - _SURE, runs, rate))


def _blind_to(most: int, runs: int) -> str:
    """The error of the check itself: the rate that it lets through one time in twenty (Clopper & Pearson 1934)."""
    rate = float(betaincinv(most + 1, runs - most, _SURE)) if most < runs else 1.0
    return f" (this check overlooks a rate of {rate:.2g} one time in twenty)"


def _passing(least: int, runs: int) -> float:
    """The power with which a gate reaches so many hits one time in twenty."""
    return float(betaincinv(least, runs - least + 1, 1 - _SURE)) if least else 0.0
