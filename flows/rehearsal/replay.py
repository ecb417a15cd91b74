"""`sluice gate replay`: judge recorded or synthetic data without a running system. JSON lines in, one line a look out.

The protocol is described in docs/reference/gate-replay.md. Pure: the same lines give the same answers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from sluicegate.flows.gate.fold import RATIO_ALPHA
from sluicegate.flows.gate.wording import figure
from sluicegate.flows.rehearsal.replay_lines import LookLine, MalformedLine, PlanLine, RowLine, read
from sluicegate.flows.stats.increment import Increment
from sluicegate.flows.stats.intervals import estimate
from sluicegate.flows.stats.pair import Pair
from sluicegate.flows.stats.sample_ratio import Arrivals, SampleRatioTest
from sluicegate.flows.stats.trial import Design, Kind, Rung, Trial
from sluicegate.flows.stats.units import UnitRows
from sluicegate.registry.words.tally import Tally

_RESERVE = 0.02
"""Share of alpha kept for looks beyond the plan: less than a rollout keeps, whose plan is only a guess."""


@dataclass(frozen=True, kw_only=True)
class _Case:
    """What is being judged: a plan and what has come in since."""

    plan: PlanLine
    trial: Trial
    ratio: SampleRatioTest
    """Whether rows come in the shares of their weights, where these are known. Where not, a rollout never passes; here
    it is reported, no more."""
    information: float = 0.0
    sizes: dict[int, tuple[int, int]]
    """Rows of stable and candidate by stratum."""
    waiting: dict[int, Pair]
    """Rows of strata in which the other arm has none yet: judged together with its first."""
    units: dict[str | int, int]
    """Numbers of the units, in order of appearance."""
    unsound: int = 0
    last: int | None = None
    """The number of the last look."""
    text: str = ""
    """The last look as it was written."""
    answer: str = ""


def replay(lines: Iterable[str]) -> Iterator[str]:
    """One JSON line for each look. A plan line starts afresh. Raises MalformedLine, and then has judged nothing of it.

    A look that repeats the look before it gets the same answer again; it is not counted twice.
    """
    case: _Case | None = None
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        match read(text, number):
            case PlanLine() as plan:
                case = _begin(plan)
            case LookLine() as look:
                case = _next(case, look, text.strip(), number)
                yield case.answer


def _begin(plan: PlanLine) -> _Case:
    ratio = SampleRatioTest.begin(RATIO_ALPHA, plan.info_total, _RESERVE)
    return _Case(plan=plan, trial=Trial.begin(_design(plan)), ratio=ratio, sizes={}, waiting={}, units={})


def _design(plan: PlanLine) -> Design:
    planned: dict[float, float] = {}
    steps = plan.info_steps or [plan.info_total] * len(plan.metric.ladder)
    for margin, information in zip(plan.metric.ladder, steps, strict=False):
        planned[margin] = max(information, planned.get(margin, 0.0))
    planned.setdefault(0.0, plan.info_total)
    return Design(
        kind=_kind(plan),
        worse_is_higher=plan.metric.worse == "higher",
        alpha=plan.alpha,
        beta=plan.beta,
        information=plan.info_total,
        rungs=tuple(Rung(margin=m, information=planned[m]) for m in sorted(planned, reverse=True)),
        reserve=_RESERVE,
    )


def _kind(plan: PlanLine) -> Kind:
    match plan.unit, plan.metric.kind:
        case "user", _:
            return Kind.UNIT
        case "request", "binary":
            return Kind.COUNT
        case "request", "mean":
            return Kind.MEAN


def _next(case: _Case | None, look: LookLine, text: str, line: int) -> _Case:
    if case is None:
        raise MalformedLine(f"line {line}: type: a look before any plan.", fix="begin with a plan line.")
    if look.info.look is not None and text == case.text:
        return case
    _check(case, look, line)
    sound = [row for row in look.rows if row.is_sound and _fits(case.plan, row)]
    sizes, waiting, units = dict(case.sizes), dict(case.waiting), dict(case.units)
    pairs = _pairs(sound, sizes, waiting)
    information = look.info.info if look.info.info is not None else _information(sizes)
    information = max(information, case.information)
    by_unit = _unit_rows(sound, units) if case.plan.unit == "user" else None
    trial = case.trial.look(Increment(pairs=pairs, information=information, units=by_unit))
    after = replace(
        case, trial=trial,
        ratio=case.ratio.look(_arrivals(sound)), information=information, sizes=sizes, waiting=waiting,
        units=units, last=look.info.look, text=text, unsound=case.unsound + len(look.rows) - len(sound),
    )  # fmt: skip
    return replace(after, answer=_answer(after, look))


def _check(case: _Case, look: LookLine, line: int) -> None:
    if case.last is not None and look.info.look is not None and look.info.look <= case.last:
        raise MalformedLine(
            f"line {line}: info.look: {look.info.look} after {case.last}, with other rows.",
            fix="number looks upwards, or start afresh with a plan line.",
        )
    steps = len(case.plan.metric.ladder)
    if look.info.step is not None and case.plan.metric.margins is not None and look.info.step > steps:
        raise MalformedLine(
            f"line {line}: info.step: {look.info.step}, but the plan has {steps} steps.",
            fix=f"count steps from 0; {steps} is after the last.",
        )
    for i, row in enumerate(look.rows):
        if (row.unit is not None) != (case.plan.unit == "user"):
            problem = "is missing" if row.unit is None else "belongs to plans with unit user"
            raise MalformedLine(f"line {line}: rows.{i}.unit: {problem}.")


def _fits(plan: PlanLine, row: RowLine) -> bool:
    """Whether the sums of a sound row can be those of zeros and ones, where these are due, or of real values."""
    return row.is_count if plan.metric.kind == "binary" else row.is_spread


def _pairs(rows: list[RowLine], sizes: dict[int, tuple[int, int]], waiting: dict[int, Pair]) -> tuple[Pair, ...]:
    """One pair for each stratum that can be compared, in order. Counts the rows into `sizes`, keeps back in `waiting`.

    Looks may be as small as one row, which alone could never be compared.
    """
    cells: dict[int, tuple[list[RowLine], list[RowLine]]] = {}
    for row in rows:
        cells.setdefault(row.stratum, ([], []))[row.arm == "candidate"].append(row)
    comparable: list[Pair] = []
    for stratum in sorted(cells):
        new = Pair(stable=_moments(cells[stratum][0]), candidate=_moments(cells[stratum][1]))
        stable, candidate = sizes.get(stratum, (0, 0))
        sizes[stratum] = (stable + new.stable.n, candidate + new.candidate.n)
        pair = waiting.pop(stratum, Pair()) + new
        if pair.information:
            comparable.append(pair)
        else:
            waiting[stratum] = pair
    return tuple(comparable)


def _moments(rows: list[RowLine]) -> Tally:
    """What the rows add up to, in any order the same."""
    return Tally(
        n=sum(int(row.n or 0) for row in rows),
        total=math.fsum(row.sum or 0.0 for row in rows),
        squares=math.fsum(row.sumsq or 0.0 for row in rows),
        cubes=math.fsum(row.sumcube or 0.0 for row in rows),
    )


def _arrivals(rows: list[RowLine]) -> list[Arrivals]:
    """Rows by arm where each was assigned by itself; units are not told apart from the rows they had before."""
    return [
        Arrivals(
            share=row.weight,
            candidate=int(row.n or 0) if row.arm == "candidate" else 0,
            stable=int(row.n or 0) if row.arm == "stable" else 0,
        )
        for row in rows
        if row.unit is None and row.weight is not None and 0 < row.weight < 1
    ]


def _information(sizes: dict[int, tuple[int, int]]) -> float:
    return sum(a * b / (a + b) for _, (a, b) in sorted(sizes.items()) if a and b)


def _unit_rows(rows: list[RowLine], units: dict[str | int, int]) -> UnitRows:
    """The rows by unit, in an order of their own; numbers new units in `units`."""
    cells: dict[tuple[str | int, int, bool], tuple[float, float]] = {}
    for row in rows:
        if row.unit is not None:
            place = row.unit, row.stratum, row.arm == "candidate"
            n, total = cells.get(place, (0.0, 0.0))
            cells[place] = n + (row.n or 0), total + (row.sum or 0.0)
    known = sorted(cells.items(), key=lambda cell: (str(cell[0][0]), *cell[0][1:]))
    return UnitRows(
        unit=np.array([units.setdefault(unit, len(units)) for (unit, _, _), _ in known], dtype=np.int64),
        stratum=np.array([stratum for (_, stratum, _), _ in known], dtype=np.int64),
        candidate=np.array([candidate for (_, _, candidate), _ in known], dtype=np.bool_),
        n=np.array([n for _, (n, _) in known], dtype=np.float64),
        total=np.array([total for _, (_, total) in known], dtype=np.float64),
    )


def _answer(case: _Case, look: LookLine) -> str:
    """The verdict and its evidence as a JSON line. A failing verdict is final; doubtful data never pass."""
    trial, ladder = case.trial, case.plan.metric.ladder
    step = look.info.step or 0
    margin = ladder[min(step, len(ladder) - 1)] if ladder else None
    readout = estimate(trial, margin)
    if trial.failed_at is not None:
        verdict = "fail"
    elif case.unsound or trial.sums.information <= 0:
        verdict = "no_data"
    elif margin is not None and trial.ruled_out(margin) is not None:
        verdict = "pass"
    else:
        verdict = "undecided"
    return json.dumps(
        {
            "verdict": verdict,
            "look": look.info.look if look.info.look is not None else trial.looks,
            "step": step,
            "margin": margin,
            "stable_n": trial.sums.stable.n + sum(pair.stable.n for pair in case.waiting.values()),
            "candidate_n": trial.sums.candidate.n + sum(pair.candidate.n for pair in case.waiting.values()),
            "estimate": figure(readout.value),
            "low": figure(readout.low),
            "high": figure(readout.high),
            "alpha_spent": figure(trial.harm.spent),
            "information": figure(case.information),
            "information_fraction": figure(case.information / trial.design.information),
            "e_value": figure(trial.e_value),
            "failed_at": trial.failed_at,
            "ruled_out": trial.margins_ruled_out,
            "rejected_rows": case.unsound,
            "sample_ratio_mismatch": case.ratio.mismatch,
        }
    )
