"""Gate: from a plan and tallies to looks and verdicts.

A verdict is a pure function of the plan and the recorded looks: same input, same bytes, whoever judges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sluicegate.flows.gate.cells import Rows
from sluicegate.flows.gate.design import Question, gate_question, passes_grid_point
from sluicegate.flows.gate.fold import GateState, fold
from sluicegate.flows.gate.labels import mending
from sluicegate.flows.gate.pair_design import PairedQuestion, paired_question
from sluicegate.flows.gate.pair_fold import PairedState, fold_pairs
from sluicegate.flows.gate.pair_wording import paired_verdict
from sluicegate.flows.gate.slice_wording import sliced_verdict
from sluicegate.flows.gate.slices import SlicedQuestion, SlicedState, fold_slices, sliced_question
from sluicegate.flows.gate.wording import gate_verdict
from sluicegate.registry.plan.fields import GateSpec, Strategy
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.metric import TallyRow
from sluicegate.registry.words.verdict import Answer, Look, Verdict


def rows_read(plan: Plan, gate: GateSpec, rows: Sequence[TallyRow]) -> tuple[TallyRow, ...]:
    """The tallies of a rollout that one gate reads, those of its slices included.

    A latency quantile with margins also needs the candidate's exceedances of each moved threshold; a shadow needs the
    differences on the same requests.
    """
    question = _question(plan, gate, guardrail=bool(gate.slices))
    if isinstance(question, SlicedQuestion):
        return tuple(row for row in rows if question.reads(row.metric))
    return tuple(row for row in rows if row.metric in question.names)


def next_look(
    *, rollout: str, plan: Plan, gate: GateSpec, guardrail: bool, step: int, looks: Sequence[Look],
    rows: Sequence[TallyRow], watermark: int, at: datetime, beside: str = "stable", since: int = 0,
) -> Look | None:  # fmt: skip
    """The look to record now, or None while the plan's next grid point of information has not been passed.

    `rows` are the metric's cumulative tallies, derived exceedance metrics included; `looks` its recorded looks in
    order of k. The look holds what is new since then; a late row of an old stratum becomes a correction. `beside` is
    what the verdict's sentence calls the stable build, such as v2. `since`: the epoch from which requests count.
    """
    question = _question(plan, gate, guardrail=guardrail, beside=beside)
    earlier, counted = _split(looks, since)
    rows_of_looks = [rows for _, rows in counted]
    state = _fold(question, rows_of_looks)
    new = state.new_rows([row for row in rows if row.stratum.epoch >= since] if since else rows)
    if not passes_grid_point(question.grid, state.information, state.information_with(new)):
        return None
    after = _fold(question, [*rows_of_looks, new])
    return Look(
        rollout=rollout, metric=gate.metric, k=len(looks) + 1, step=step, at=at, watermark=watermark, rows=new,
        verdict=_since(_verdict(after, step, (*counted, (at, new))), since, earlier),
    )  # fmt: skip


def verdict(
    *, plan: Plan, gate: GateSpec, guardrail: bool, step: int, looks: Sequence[Look], beside: str = "stable",
    since: int = 0,
) -> Verdict:  # fmt: skip
    """The gate's answer at a step, from the recorded looks alone.

    A gate with a margin passes when some look has ruled the step's margin out, and fails when some look found harm;
    failing is final. A gate without a margin passes as soon as both arms have rows and no harm was found; a guardrail
    never passes. `since`: the epoch from which requests count, because a person overrode an earlier failure.
    """
    question = _question(plan, gate, guardrail=guardrail, beside=beside)
    earlier, counted = _split(looks, since)
    return _since(_verdict(_fold(question, [rows for _, rows in counted]), step, counted), since, earlier)


def verdict_at_once(plan: Plan, gate: GateSpec, rows: Rows, beside: str) -> Verdict:
    """The verdict of a gate on a complete set of pairs: a single look with all of its alpha and beta."""
    question = paired_question(plan, gate, guardrail=False, beside=beside)
    known = PairedState.begin(question).look(rows).information
    return paired_verdict(fold_pairs(replace(question, planned=float(max(known, 1))), [rows]), 0)


AnyQuestion = Question | PairedQuestion | SlicedQuestion
AnyState = GateState | PairedState | SlicedState


def _question(plan: Plan, gate: GateSpec, *, guardrail: bool, beside: str = "stable") -> AnyQuestion:
    if plan.strategy is Strategy.SHADOW:
        return paired_question(plan, gate, guardrail=guardrail, beside=beside)
    if gate.slices and guardrail:
        return sliced_question(plan, gate, beside=beside)
    return gate_question(plan, gate, guardrail=guardrail, beside=beside)


def _fold(question: AnyQuestion, rows_of_looks: Sequence[Rows]) -> AnyState:
    match question:
        case Question():
            return fold(question, rows_of_looks)
        case PairedQuestion():
            return fold_pairs(question, rows_of_looks)
        case SlicedQuestion():
            return fold_slices(question, rows_of_looks)


def _split(looks: Sequence[Look], since: int) -> tuple[int, tuple[tuple[datetime, Rows], ...]]:
    """How many looks have requests from before that epoch only, and the rows of the other looks since then."""
    if not since:
        return 0, tuple((look.at, look.rows) for look in looks)
    counted = [(look.at, tuple(row for row in look.rows if row.stratum.epoch >= since)) for look in looks]
    earlier = next((k for k, (_, rows) in enumerate(counted) if rows), len(looks))
    return earlier, tuple(counted[earlier:])


def _since(verdict: Verdict, since: int, earlier: int) -> Verdict:
    """The verdict, numbered among all looks, with a note that earlier ones were overridden."""
    if not since:
        return verdict
    again = f"judged again since an override: looks count from look {earlier} on"
    return replace(verdict, since=since, k=verdict.k + earlier, details=(again, *verdict.details))


def _verdict(state: AnyState, step: int, looks: Sequence[tuple[datetime, Rows]]) -> Verdict:
    match state:
        case GateState():
            return _with_mending(gate_verdict(state, step), state, looks)
        case PairedState():
            return paired_verdict(state, step)
        case SlicedState():
            verdict = sliced_verdict(state, step)
            return _with_mending(verdict, state.whole, looks)


def _with_mending(verdict: Verdict, state: GateState, looks: Sequence[tuple[datetime, Rows]]) -> Verdict:
    """The verdict; if labels do not arrive alike, with what to do about it."""
    if verdict.answer is Answer.NO_DATA and state.unlike_at is not None:
        return replace(verdict, reason=verdict.reason + mending(verdict.metric, state.cells, looks))
    return verdict
