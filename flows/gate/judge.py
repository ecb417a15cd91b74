"""Gate: from a plan and tallies to looks and verdicts.

A verdict is a pure function of the plan and the recorded looks: same input, same bytes, whoever judges.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sluicegate.flows.gate.design import passes_grid_point, question
from sluicegate.flows.gate.fold import fold, information_with, new_rows
from sluicegate.flows.gate.pair_design import paired_question
from sluicegate.flows.gate.pair_gate import next_paired_look, paired_verdict
from sluicegate.flows.gate.wording import say
from sluicegate.registry.plan.fields import GateSpec, Strategy
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.metric import TallyRow
from sluicegate.registry.words.verdict import Look, Verdict


def metrics_needed(plan: Plan) -> tuple[str, ...]:
    """Names of the tally metrics that the plan's gates and guardrails read, in order."""
    gates = (*plan.gates, *plan.guardrails)
    return tuple(dict.fromkeys(name for gate in gates for name in names_read(plan, gate)))


def names_read(plan: Plan, gate: GateSpec) -> tuple[str, ...]:
    """Names of the tally metrics that one gate reads.

    A latency quantile with margins needs the candidate's exceedances of each moved threshold besides its own; a shadow
    the differences on the same requests.
    """
    if plan.strategy is Strategy.SHADOW:
        return paired_question(plan, gate, guardrail=False).names
    return question(plan, gate).names


def next_look(
    *, rollout: str, plan: Plan, gate: GateSpec, guardrail: bool, step: int, looks: Sequence[Look],
    rows: Sequence[TallyRow], watermark: int, at: datetime,
) -> Look | None:  # fmt: skip
    """The look to record now, or None while the plan's next grid point of information has not been passed.

    `rows` are the metric's cumulative tallies, derived exceedance metrics included; `looks` its recorded looks in
    order of k. The look holds what is new since them: a late row of an old stratum becomes a correction.
    """
    if plan.strategy is Strategy.SHADOW:
        return next_paired_look(
            rollout=rollout, plan=plan, gate=gate, guardrail=guardrail, step=step, looks=looks, rows=rows,
            watermark=watermark, at=at,
        )  # fmt: skip
    asked = question(plan, gate)
    seen = [look.rows for look in looks]
    state = fold(asked, seen)
    new = new_rows(state, rows)
    if not passes_grid_point(plan, state.information, information_with(state, new)):
        return None
    judged = say(
        plan=plan, gate=gate, guardrail=guardrail, step=step, k=len(looks) + 1, state=fold(asked, [*seen, new])
    )
    return Look(
        rollout=rollout, metric=gate.metric, k=len(looks) + 1, step=step, at=at, watermark=watermark, rows=new,
        verdict=judged,
    )  # fmt: skip


def verdict(*, plan: Plan, gate: GateSpec, guardrail: bool, step: int, looks: Sequence[Look]) -> Verdict:
    """The gate's answer at a step, from the recorded looks alone.

    A gate with a margin passes when some look has ruled the step's margin out, and fails when some look found harm;
    failing is final. A gate without a margin passes as soon as both arms have rows and no harm was found; a guardrail
    never passes.
    """
    if plan.strategy is Strategy.SHADOW:
        return paired_verdict(plan=plan, gate=gate, guardrail=guardrail, step=step, looks=looks)
    state = fold(question(plan, gate), [look.rows for look in looks])
    return say(plan=plan, gate=gate, guardrail=guardrail, step=step, k=len(looks), state=state)
