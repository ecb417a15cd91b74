"""From the state of a shadow's gate to its verdict, with figures and a reason that a person understands. Pure."""

from __future__ import annotations

from sluicegate.flows.gate.pair_design import PairedKind
from sluicegate.flows.gate.pair_fold import PairedState, discordant
from sluicegate.flows.gate.wording import beta_left, figure, mean_from, too_many_missing
from sluicegate.flows.stats.confidence_sequences import Interval, mean_interval, rate_interval
from sluicegate.registry.words.units import format_share
from sluicegate.registry.words.verdict import Answer, Verdict


def paired_verdict(state: PairedState, step: int) -> Verdict:
    """The verdict that the state amounts to. Failing is final."""
    question, pairs = state.question, state.pairs
    margin, readout = question.margin, _readout(state)
    answer, reason = _answer(state, readout)
    is_scaled = margin is not None and question.kind is not PairedKind.THRESHOLD
    return Verdict(
        metric=question.metric,
        answer=answer,
        reason=reason + beta_left(question.beta, question.declared_beta),
        step=step,
        k=state.looks,
        guardrail=question.is_guardrail,
        margin=margin,
        bound=figure(margin * ((pairs.stable.mean or 0.0) + question.origin))
        if margin is not None and is_scaled
        else None,
        ruled_out=(margin,) if margin is not None and state.within_at is not None else (),
        stable_n=pairs.stable.n,
        candidate_n=pairs.candidate.n,
        stable_mean=figure(mean_from(pairs.stable, question.origin)),
        candidate_mean=figure(mean_from(pairs.candidate, question.origin)),
        estimate=figure(readout.value if readout else None),
        low=figure(readout.low if readout else None),
        high=figure(readout.high if readout else None),
        alpha=question.alpha,
        alpha_spent=figure(state.harm.spent),
        beta_spent=None if question.is_guardrail else figure(_beta_spent(state)),
        information=float(state.information),
        information_fraction=figure(state.information / question.planned) or 0.0,
        missing=pairs.difference.missing,
    )


def _beta_spent(state: PairedState) -> float:
    within = state.within.spent if state.within is not None else 0.0
    return max(within, state.rate_below.beta / 2 if state.rate_below is not None else 0.0)


def _readout(state: PairedState) -> Interval | None:
    """The difference on the same request; of a disagreement, its rate."""
    question, candidate = state.question, state.pairs.candidate
    if question.kind is PairedKind.DISAGREEMENT:
        return rate_interval(round(candidate.total), candidate.n, question.alpha)
    return mean_interval(state.pairs.difference, question.alpha, question.planned)


def _answer(state: PairedState, readout: Interval | None) -> tuple[Answer, str]:
    """Failing is final and comes first; then doubts about the data; then the rate and the margin."""
    question, interval, below = state.question, _interval(state, readout), state.rate_below
    if state.failed_at is not None:
        return Answer.FAIL, f"{_harm(state)}: {interval}, found at look {state.failed_at}"
    if state.information == 0:
        return Answer.NO_DATA, "no pair with both values yet"
    too_many = too_many_missing(state.pairs.difference)
    if too_many is not None:
        return Answer.NO_DATA, f"{state.pairs.difference.missing} pairs lack a value ({too_many})"
    if question.is_guardrail:
        return Answer.UNDECIDED, f"no harm found: {interval}"
    if below is not None and below.shown_at is None:
        return Answer.UNDECIDED, f"below {format_share(below.bound)} is not shown yet: {below.ones} of {below.n}"
    if question.margin is not None and state.within_at is None:
        return Answer.UNDECIDED, f"{format_share(question.margin)} worse is not ruled out yet: {interval}"
    return Answer.PASS, f"{_shown(state)}: {interval}"


def _harm(state: PairedState) -> str:
    if state.question.kind is PairedKind.DISAGREEMENT:
        return f"more than {format_share(state.question.below or 0.0)} of the answers differ"
    return "worse than stable on the same requests"


def _shown(state: PairedState) -> str:
    shown = []
    if state.rate_below is not None:
        shown.append(f"below {format_share(state.rate_below.bound)} shown at look {state.rate_below.shown_at}")
    if state.question.margin is not None:
        shown.append(f"{format_share(state.question.margin)} worse ruled out at look {state.within_at}")
    return ", ".join(shown) or "no harm found, and no margin asked for"


def _interval(state: PairedState, readout: Interval | None) -> str:
    if readout is None:
        return "no comparison yet"
    ends = f"[{readout.low:.3g}, {readout.high:.3g}]"
    match state.question.kind:
        case PairedKind.DISAGREEMENT:
            differ = round(state.pairs.candidate.total)
            return f"{differ} of {state.information} answers differ, {readout.value:.3g} {ends}"
        case PairedKind.BINARY | PairedKind.THRESHOLD:
            candidate_only, stable_only = discordant(state.pairs.difference)
            return f"only the candidate {candidate_only}, only stable {stable_only} of {state.information} pairs"
        case PairedKind.REAL:
            return f"{readout.value:+.3g} {ends} on {state.information} pairs"
