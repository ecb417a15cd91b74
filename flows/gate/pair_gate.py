"""The gates of a shadow: from a plan and tallies of pairs to looks and verdicts. Pure, and replayed from the looks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sluicegate.flows.gate.pair_design import PairedKind, paired_question, passes_pair_point
from sluicegate.flows.gate.pair_fold import PairedState, discordant, fold_pairs, new_pairs, pairs_with
from sluicegate.flows.gate.pair_interval import Interval, of_mean, of_rate
from sluicegate.flows.gate.wording import figure
from sluicegate.registry.plan.fields import GateSpec
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.metric import TallyRow
from sluicegate.registry.words.units import format_share
from sluicegate.registry.words.verdict import Answer, Look, Verdict

_MOST_MISSING = 0.01
"""The share of pairs without a value above which a metric is not trusted to pass."""


def next_paired_look(
    *, rollout: str, plan: Plan, gate: GateSpec, guardrail: bool, step: int, looks: Sequence[Look],
    rows: Sequence[TallyRow], watermark: int, at: datetime,
) -> Look | None:  # fmt: skip
    """The look to record now, or None while the next grid point of pairs has not been passed."""
    asked = paired_question(plan, gate, guardrail=guardrail)
    seen = [look.rows for look in looks]
    state = fold_pairs(asked, seen)
    new = new_pairs(state, rows)
    if not passes_pair_point(asked, state.n, pairs_with(state, new)):
        return None
    after = fold_pairs(asked, [*seen, new])
    return Look(
        rollout=rollout, metric=gate.metric, k=len(looks) + 1, step=step, at=at, watermark=watermark, rows=new,
        verdict=_say(gate, guardrail, step, after),
    )  # fmt: skip


def paired_verdict(*, plan: Plan, gate: GateSpec, guardrail: bool, step: int, looks: Sequence[Look]) -> Verdict:
    """The gate's answer from the recorded looks alone. Failing is final."""
    asked = paired_question(plan, gate, guardrail=guardrail)
    return _say(gate, guardrail, step, fold_pairs(asked, [look.rows for look in looks]))


def _say(gate: GateSpec, guardrail: bool, step: int, state: PairedState) -> Verdict:
    asked, pairs = state.asked, state.pairs
    readout = _readout(state)
    answer, reason = _answer(state, guardrail, readout)
    bound = asked.margin * (pairs.stable.mean or 0.0) if asked.margin is not None else None
    return Verdict(
        metric=gate.metric,
        answer=answer,
        reason=reason,
        step=step,
        k=state.looks,
        guardrail=guardrail,
        margin=asked.margin,
        bound=None if asked.kind is PairedKind.THRESHOLD else figure(bound),
        ruled_out=(asked.margin,) if asked.margin is not None and state.within_at is not None else (),
        stable_n=pairs.stable.n,
        candidate_n=pairs.candidate.n,
        stable_mean=figure(pairs.stable.mean),
        candidate_mean=figure(pairs.candidate.mean),
        estimate=figure(readout.value if readout else None),
        low=figure(readout.low if readout else None),
        high=figure(readout.high if readout else None),
        alpha=gate.alpha,
        alpha_spent=figure(_spent(state)),
        information=float(state.n),
        information_fraction=figure(state.n / asked.planned) or 0.0,
        missing=pairs.difference.missing,
    )


def _spent(state: PairedState) -> float:
    return state.harm.lattice.spent


def _readout(state: PairedState) -> Interval | None:
    """The difference on the same request; of a disagreement, its rate."""
    if state.asked.kind is PairedKind.DISAGREEMENT:
        candidate = state.pairs.candidate
        return of_rate(round(candidate.total), candidate.n, state.asked.alpha)
    return of_mean(state.pairs.difference, state.asked.alpha, state.asked.planned)


def _answer(state: PairedState, guardrail: bool, readout: Interval | None) -> tuple[Answer, str]:
    """Failing is final and comes first; then doubts about the data; then the cap and the margin."""
    asked, seen = state.asked, _seen(state, readout)
    if state.failed_at is not None:
        cap = f"more than {format_share(asked.below or 0.0)} of the answers differ"
        what = cap if asked.kind is PairedKind.DISAGREEMENT else "worse than stable on the same requests"
        return Answer.FAIL, f"{what}: {seen}, found at look {state.failed_at}"
    if state.n == 0:
        return Answer.NO_DATA, "no pair with both values yet"
    missing = state.pairs.difference.missing
    if missing > _MOST_MISSING * (missing + state.n):
        shown = format_share(round(missing / (missing + state.n), 3))
        most = format_share(_MOST_MISSING)
        return Answer.NO_DATA, f"{missing} pairs lack a value ({shown}; at most {most} is trusted)"
    if guardrail:
        return Answer.UNDECIDED, f"no harm found: {seen}"
    if state.cap is not None and state.cap.shown_at is None:
        bound = format_share(state.cap.cap)
        return Answer.UNDECIDED, f"below {bound} is not shown yet: {state.cap.ones} of {state.cap.n}"
    if asked.margin is not None and state.within_at is None:
        return Answer.UNDECIDED, f"{format_share(asked.margin)} worse is not ruled out yet: {seen}"
    return Answer.PASS, f"{_shown(state)}: {seen}"


def _shown(state: PairedState) -> str:
    said = []
    if state.cap is not None:
        said.append(f"below {format_share(state.cap.cap)} shown at look {state.cap.shown_at}")
    if state.asked.margin is not None:
        said.append(f"{format_share(state.asked.margin)} worse ruled out at look {state.within_at}")
    return ", ".join(said) or "no harm found, and no margin asked for"


def _seen(state: PairedState, readout: Interval | None) -> str:
    if readout is None:
        return "no comparison yet"
    ends = f"[{readout.low:.3g}, {readout.high:.3g}]"
    match state.asked.kind:
        case PairedKind.DISAGREEMENT:
            differ = round(state.pairs.candidate.total)
            return f"{differ} of {state.n} answers differ, {readout.value:.3g} {ends}"
        case PairedKind.BINARY | PairedKind.THRESHOLD:
            candidate_only, stable_only = discordant(state.pairs.difference)
            return f"only the candidate {candidate_only}, only stable {stable_only} of {state.n} pairs"
        case PairedKind.REAL:
            return f"{readout.value:+.3g} {ends} on {state.n} pairs"
