"""`sluice gate replay`: judge recorded or synthetic data without a running system. JSON lines in, one line per look
out.

The protocol is described in docs/reference/gate-replay.md. The gate that judges rollouts judges here. It gets rows of
units as from telemetry, and only what the lines do not say is left out. Pure: the same lines give the same answers.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from sluicegate.flows.gate.design import Question, fresh_question
from sluicegate.flows.gate.fold import GateState, is_sound
from sluicegate.flows.gate.wording import gate_verdict
from sluicegate.flows.rehearsal.replay_lines import LookLine, MalformedLine, MetricLine, PlanLine, RowLine, read
from sluicegate.flows.stats.bets import Bounds
from sluicegate.flows.stats.trial import Design, Kind, Rung
from sluicegate.registry.plan.fields import FRESH
from sluicegate.registry.report.reason import Wording
from sluicegate.registry.words.figures import Unit
from sluicegate.registry.words.metric import REQUESTS, Arm, Stratum, TallyRow, Worse
from sluicegate.registry.words.tally import Tally
from sluicegate.registry.words.units import FULL
from sluicegate.services.telemetry.tally.unit_accumulator import Epochs, Step, UnitAccumulator, added, enter

_METRIC = "metric"


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a stratum belongs."""

    chance: float
    """The weight; if none is given, a number below 0 that stands for the step."""
    epoch: int
    """Strata with the same chance have the same epoch."""


@dataclass(frozen=True, kw_only=True)
class _Case:
    """What is being judged: a plan and the looks since."""

    plan: PlanLine
    state: GateState
    strata: dict[int, _Place] = field(default_factory=dict)
    units: dict[tuple[str, int], Epochs] = field(default_factory=dict)
    """What each unit has added so far."""
    unsound: int = 0
    last: int | None = None
    """The number of the last look."""
    text: str = ""
    """The last look as it was written."""
    answer: str = ""


def replay(lines: Iterable[str]) -> Iterator[str]:
    """One JSON line for each look. A plan line starts afresh. Raises MalformedLine for a line, of which nothing is
    judged then.

    A look that repeats the look before it gets the same answer again; it is not counted twice.
    """
    case: _Case | None = None
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        match read(text, number):
            case PlanLine() as plan:
                state = GateState.begin(_question(plan), by_unit=plan.unit == "user")
                case = _Case(plan=plan, state=state)
            case LookLine() as look:
                case = _next(case, look, text.strip(), number)
                yield case.answer


def _question(plan: PlanLine) -> Question:
    """The question of a plan's gate: with margins, whether each passes; without one, only whether the gate fails."""
    ladder = plan.metric.ladder
    planned: dict[float, float] = {}
    for margin, information in zip(ladder, plan.info_steps or [plan.info_total] * len(ladder), strict=False):
        planned[margin] = max(information, planned.get(margin, 0.0))
    planned.setdefault(0.0, plan.info_total)
    design = Design(
        kind=Kind.COUNT if plan.metric.kind == "binary" else Kind.MEAN,
        worse_is_higher=plan.metric.worse == "higher",
        alpha=plan.alpha,
        beta=plan.beta,
        information=plan.info_total,
        rungs=tuple(Rung(margin=m, information=planned[m]) for m in sorted(planned, reverse=True)),
        bounds=_bounds(plan.metric),
        origin=plan.metric.origin,
    )
    words = Wording(
        subject=_METRIC, unit=Unit.SHARE if design.kind is Kind.COUNT else Unit.PLAIN, worse=Worse(plan.metric.worse),
        beside="stable", is_named=False, confidence=1 - plan.alpha - plan.beta, counted="rows", units="units",
    )  # fmt: skip
    question = Question(
        metric=_METRIC, words=words, design=design, first_look=0.0,
        assigns_rows=plan.unit == "request", comes_late=plan.late, margins=ladder,
    )  # fmt: skip
    if plan.weights is None or len(ladder) < 2:
        return question
    margin, weight = round(FRESH * ladder[-1], 6), _basis_points(plan.weights[-1])
    return replace(question, fresh=fresh_question(question, margin, weight))


def _bounds(metric: MetricLine) -> Bounds | None:
    if metric.cap is None or metric.kind == "binary":
        return None
    low = -metric.cap if metric.floor is None else metric.floor
    return Bounds(low - metric.origin, metric.cap - metric.origin)


def _next(case: _Case | None, look: LookLine, text: str, line: int) -> _Case:
    if case is None:
        raise MalformedLine(f"line {line}: type: there is a look before any plan.", fix="begin with a plan line.")
    if look.info.look is not None and text == case.text:
        return case
    _check(case, look, line)
    question, strata = case.state.question, dict(case.strata)
    lines = [(row, _row(row, case.plan, look.info.step or 0, strata)) for row in look.rows]
    doubted = {(row.stratum, row.weight) for _, row in lines if not is_sound(question, row)}
    sound = [(line, row) for line, row in lines if (row.stratum, row.weight) not in doubted]
    units = dict(case.units)
    rows = (*(row for _, row in sound), *_requests(sound), *_unit_rows(sound, units))
    after = replace(
        case, state=case.state.look(rows, at_most=math.inf if look.info.info is None else look.info.info),
        strata=strata, units=units, last=look.info.look, text=text,
        unsound=case.unsound + sum(not is_sound(question, row) for _, row in lines),
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


def _row(line: RowLine, plan: PlanLine, step: int, strata: dict[int, _Place]) -> TallyRow:
    """A line's row; if no values can have its sums, a row that cannot be true. Numbers the strata's epochs in
    `strata`."""
    weight = line.weight
    if weight is None and line.unit is not None and plan.weights is not None:
        weight = plan.weights[min(step, len(plan.weights) - 1)]
    epochs = {known.chance: known.epoch for known in strata.values()}
    chance = -1.0 - step if weight is None else weight
    place = strata.setdefault(line.stratum, _Place(chance=chance, epoch=epochs.get(chance, len(epochs) + 1)))
    return TallyRow(
        metric=_METRIC, stratum=Stratum(epoch=place.epoch, bucket=line.stratum), weight=_basis_points(weight),
        arm=Arm(line.arm), tally=line.tally,
    )  # fmt: skip


def _basis_points(weight: float | None) -> int:
    """A weight in basis points; 0 if unknown."""
    return round((weight or 0.0) * FULL)


def _requests(sound: Sequence[tuple[RowLine, TallyRow]]) -> Iterator[TallyRow]:
    """The requests whose labels the values are, if lines name their number."""
    for line, row in sound:
        if line.requests is not None:
            yield replace(row, metric=REQUESTS, tally=Tally(n=line.requests))


def _unit_rows(
    sound: Sequence[tuple[RowLine, TallyRow]], units: dict[tuple[str, int], Epochs]
) -> Iterator[TallyRow]:  # fmt: skip
    """What the lines add by unit, each put into its stratum as telemetry does; `units` are those met so far."""
    sheet, steps = UnitAccumulator(), Counter[Step]()
    for line, row in sound:
        if line.unit is not None:
            side = ("", row.stratum.epoch, row.stratum.bucket, row.arm, row.weight)
            sheet.take(side, repr(line.unit), ((_METRIC, row.tally.total, row.tally.n),))
    for key, epochs in sheet.entries.items():
        known = units.get(key, {})
        units[key] = known | enter(known, epochs, key[0], steps)
    for (_, _, epoch, bucket, arm, weight), sums in sorted(added(steps).items()):
        yield TallyRow(
            metric=_METRIC, stratum=Stratum(epoch=epoch, bucket=bucket), weight=weight, arm=Arm(arm), tally=Tally(),
            units=sums,
        )  # fmt: skip


def _answer(case: _Case, look: LookLine) -> str:
    """The verdict and its evidence as a JSON line. A row that cannot be true is not sent again, so it prevents a pass
    for good."""
    state, step = replace(case.state, unsound=case.unsound), look.info.step or 0
    verdict = gate_verdict(state, step)
    return json.dumps(
        {
            "verdict": verdict.answer,
            "look": look.info.look if look.info.look is not None else verdict.k,
            "step": step,
            "margin": verdict.margin,
            "stable_n": verdict.stable_n,
            "candidate_n": verdict.candidate_n,
            "estimate": verdict.estimate,
            "low": verdict.low,
            "high": verdict.high,
            "alpha_spent": verdict.alpha_spent,
            "information": verdict.information,
            "information_fraction": verdict.information_fraction,
            "e_value": verdict.e_value,
            "failed_at": state.failed_at,
            "ruled_out": verdict.ruled_out,
            "rejected_rows": case.unsound,
            "sample_ratio_mismatch": state.ratio is not None and state.ratio.mismatch,
            "reason": verdict.reason,
        }
    )
