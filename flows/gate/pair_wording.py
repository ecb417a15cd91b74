"""From the state of a shadow's gate to its verdict, with figures and a reason that a person understands. Pure."""

from __future__ import annotations

from sluicegate.flows.gate.pair_design import PairedKind, PairedQuestion
from sluicegate.flows.gate.pair_fold import PairedState, discordant
from sluicegate.flows.gate.wording import WITHOUT_CAP, beta_left, figure, mean_from, too_many_missing
from sluicegate.flows.stats.confidence_sequences import Interval, mean_interval, rate_interval
from sluicegate.registry.words.figures import number, share
from sluicegate.registry.words.verdict import Answer, Verdict


def paired_verdict(state: PairedState, step: int) -> Verdict:
    """The verdict that the state amounts to. Failing is final."""
    question, pairs = state.question, state.pairs
    margin, readout = question.margin, _readout(state)
    answer, reason = _answer(state, _difference(state, readout))
    is_scaled = margin is not None and question.kind is not PairedKind.THRESHOLD
    return Verdict(
        metric=question.metric,
        answer=answer,
        reason=reason,
        details=_details(state) + _without_bounds(question) + beta_left(question.beta, question.declared_beta),
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


def _without_bounds(question: PairedQuestion) -> tuple[str, ...]:
    is_approximate = question.kind is PairedKind.REAL and question.bounds is None
    return (WITHOUT_CAP,) if is_approximate else ()


def _beta_spent(state: PairedState) -> float:
    within = state.within.spent if state.within is not None else 0.0
    return max(within, state.rate_below.beta / 2 if state.rate_below is not None else 0.0)


def _readout(state: PairedState) -> Interval | None:
    """The difference on the same request; of a disagreement, its rate."""
    question, candidate = state.question, state.pairs.candidate
    if question.kind is PairedKind.DISAGREEMENT:
        return rate_interval(round(candidate.total), candidate.n, question.alpha)
    return mean_interval(state.pairs.difference, question.alpha, question.planned)


def _answer(state: PairedState, difference: str) -> tuple[Answer, str]:
    """Failing is final and comes first; then doubts about the data; then the rate and the margin."""
    question, below, subject = state.question, state.rate_below, state.question.words.subject
    if state.failed_at is not None:
        return Answer.FAIL, f"{difference}{_harm(state)}"
    if state.information == 0:
        return Answer.NO_DATA, f"{subject}: no pair with both values yet"
    too_many = too_many_missing(state.pairs.difference)
    if too_many is not None:
        return Answer.NO_DATA, f"{subject}: {state.pairs.difference.missing:,} pairs lack a value ({too_many})"
    if question.is_guardrail:
        return Answer.UNDECIDED, f"{difference}; no harm found"
    if below is not None and below.shown_at is None:
        return Answer.UNDECIDED, f"{difference}; not yet shown to stay below {share(below.bound)}"
    if question.margin is not None and state.within_at is None:
        return Answer.UNDECIDED, f"{difference}; not yet shown to be within the margin of {share(question.margin)}"
    return Answer.PASS, f"{difference}; {_shown(state)}"


def _harm(state: PairedState) -> str:
    if state.question.kind is PairedKind.DISAGREEMENT:
        return f"; more than the {share(state.question.below or 0.0)} that the plan allows"
    return "; worse on the same requests"


def _shown(state: PairedState) -> str:
    shown = [] if state.rate_below is None else [f"shown to stay below {share(state.rate_below.bound)}"]
    if state.question.margin is not None:
        shown.append(f"within the margin of {share(state.question.margin)}")
    return ", ".join(shown) or "no harm found, and the plan asks for no margin"


def _details(state: PairedState) -> tuple[str, ...]:
    """The looks that decided."""
    looks = (
        ("harm found", state.failed_at),
        ("margin ruled out", state.within_at),
        ("the rate shown", state.rate_below.shown_at if state.rate_below is not None else None),
    )
    return tuple(f"{what} at look {at}" for what, at in looks if at is not None)


def _difference(state: PairedState, readout: Interval | None) -> str:
    words = state.question.words
    if readout is None:
        return words.sentence(None, None, None, 0)
    match state.question.kind:
        case PairedKind.DISAGREEMENT:
            within = state.question.agree_within
            more = "" if within is None else f" by more than {number(within)}"
            ends = f"{words.level} {number(100 * readout.low)} to {share(readout.high)}"
            return f"answers differ{more} in {share(readout.value)} of {state.information:,} pairs, {ends}"
        case PairedKind.BINARY | PairedKind.THRESHOLD:
            candidate_only, stable_only = discordant(state.pairs.difference)
            return (
                f"{words.subject}: only the candidate's in {candidate_only:,}, only {words.beside}'s in "
                f"{stable_only:,} of {state.information:,} pairs"
            )
        case PairedKind.REAL:
            return words.sentence(readout.value, readout.low, readout.high, state.information)
