"""From the state of a shadow's gate to its verdict, with figures and a reason that a person understands. Pure."""

from __future__ import annotations

from sluicegate.flows.gate.pair_design import PairedKind
from sluicegate.flows.gate.pair_fold import PairedState, discordant, lacking
from sluicegate.flows.gate.wording import beta_left, capped_share, figure, mean_from, stays_below, too_many_missing
from sluicegate.flows.stats.bets import BetTest
from sluicegate.flows.stats.confidence_sequences import rate_interval
from sluicegate.flows.stats.intervals import Estimate
from sluicegate.flows.stats.trial import LEAST_VALUES
from sluicegate.registry.words.figures import number, share
from sluicegate.registry.words.metric import Arm, capped_name
from sluicegate.registry.words.verdict import Answer, Verdict


def paired_verdict(state: PairedState, step: int) -> Verdict:
    """The verdict that follows from the state. Failing is final."""
    question, pairs = state.question, state.pairs
    margin, readout = question.margin, _readout(state)
    answer, reason = _answer(state, readout)
    is_scaled = margin is not None and question.kind is not PairedKind.THRESHOLD
    return Verdict(
        metric=question.metric,
        answer=answer,
        reason=reason,
        details=_details(state) + _capped(state) + beta_left(question.beta, question.declared_beta),
        step=step,
        k=state.looks,
        guardrail=question.is_guardrail,
        margin=margin,
        bound=figure(_bound(state)) if margin is not None and is_scaled else None,
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


def _capped(state: PairedState) -> tuple[str, ...]:
    """How many values count as the cap, if there is one."""
    stable, candidate = (state.counted(capped_name(state.question.metric), arm) for arm in Arm)
    return capped_share(stable, candidate)


def _bound(state: PairedState) -> float:
    """The margin in the metric's unit."""
    return (state.question.margin or 0.0) * ((state.pairs.stable.mean or 0.0) + state.question.origin)


def _beta_spent(state: PairedState) -> float:
    within = state.within.spent if state.within is not None else 0.0
    return max(within, state.rate_below.beta / 2 if state.rate_below is not None else 0.0)


def _readout(state: PairedState) -> Estimate | None:
    """The mean difference on the same request; for disagreements, their rate."""
    question, candidate, mean = state.question, state.pairs.candidate, state.pairs.difference.mean
    if question.kind is PairedKind.DISAGREEMENT:
        rate = rate_interval(round(candidate.total), candidate.n, question.alpha)
        return Estimate(value=rate.value, low=rate.low, high=rate.high, level=None) if rate else None
    if mean is None:
        return None
    low, high = _ends(state)
    if question.kind is not PairedKind.REAL:
        low, high = (
            end if end is not None else of_rates
            for end, of_rates in zip((low, high), _ends_of_rates(state), strict=True)
        )
    return Estimate(
        value=mean,
        low=None if low is None else min(low, mean),
        high=None if high is None else max(high, mean),
        level=None,
    )


def _ends(state: PairedState) -> tuple[float | None, float | None]:
    """The interval's ends by the tests that decide, as in `stats.intervals`: each lies where its test falls short of
    its boundary. The harmful end is that of the margin's test up to the look that rules the margin out, then that of
    the test of being better.
    """
    n, harm, room, bound = state.information, lacking(state.harm), lacking(state.better), 0.0
    if isinstance(state.within, BetTest) and state.within_at in {None, state.looks}:
        room, bound = lacking(state.within), _bound(state)
    return None if harm is None else -harm / n, None if room is None else bound + room / n


def _ends_of_rates(state: PairedState) -> tuple[float | None, float | None]:
    """The ends by the two rates of pairs in which one build alone had the event. They serve while too few pairs differ
    for a test to have a boundary."""
    alpha = min(state.question.alpha, state.question.beta) / 2
    pairs = (rate_interval(count, state.information, alpha) for count in discordant(state.pairs.difference))
    candidate, stable = pairs
    if candidate is None or stable is None:
        return None, None
    return candidate.low - stable.high, candidate.high - stable.low


def _answer(state: PairedState, readout: Estimate | None) -> tuple[Answer, str]:
    """Failing is final and comes first; then doubts about the data; then the rate and the margin."""
    question, below, subject = state.question, state.rate_below, state.question.words.subject
    difference = _difference(state, readout)
    if state.failed_at is not None:
        return Answer.FAIL, f"{difference}{_harm(state, readout)}"
    if state.information == 0:
        return Answer.NO_DATA, f"{subject}: no pair has both values yet"
    too_many = too_many_missing(state.pairs.difference)
    if too_many is not None:
        return Answer.NO_DATA, f"{subject}: {state.pairs.difference.missing:,} pairs lack a value ({too_many})"
    if question.kind is PairedKind.REAL and state.information < LEAST_VALUES:
        few = f"{state.information} pairs with both values; no mean is judged on fewer than {LEAST_VALUES}"
        return Answer.NO_DATA, f"{subject}: {few}"
    if question.is_guardrail:
        return Answer.UNDECIDED, f"{difference}; no harm found"
    if below is not None and below.shown_at is None:
        return Answer.UNDECIDED, f"{difference}; not yet shown to stay below {share(below.bound)}"
    if question.margin is not None and state.within_at is None:
        return Answer.UNDECIDED, f"{difference}; not yet shown to be within the margin of {share(question.margin)}"
    return Answer.PASS, f"{difference}; {_shown(state, readout)}"


def _harm(state: PairedState, readout: Estimate | None) -> str:
    if state.question.kind is PairedKind.REAL and (readout is None or readout.low is None or readout.low <= 0):
        return "; an earlier look showed it to be worse on the same requests, and that stays"
    if state.question.kind is PairedKind.DISAGREEMENT:
        return f"; more than the {share(state.question.below or 0.0)} that the plan allows"
    return "; worse on the same requests"


def _shown(state: PairedState, readout: Estimate | None) -> str:
    high = readout.high if readout is not None else None
    of_rate = high if state.question.kind is PairedKind.DISAGREEMENT else None
    shown = [] if state.rate_below is None else [stays_below(state.rate_below.bound, of_rate)]
    if state.question.margin is not None:
        is_wide = state.question.kind is PairedKind.REAL and (high is None or high > _bound(state))
        earlier = "an earlier look showed it to be " if is_wide else ""
        shown.append(f"{earlier}within the margin of {share(state.question.margin)}")
    return ", ".join(shown) or "no harm found, and the plan asks for no margin"


def _details(state: PairedState) -> tuple[str, ...]:
    """The looks that decided."""
    looks = (
        ("harm found", state.failed_at),
        ("margin ruled out", state.within_at),
        ("the rate shown", state.rate_below.shown_at if state.rate_below is not None else None),
    )
    return tuple(f"{what} at look {at}" for what, at in looks if at is not None)


def _difference(state: PairedState, readout: Estimate | None) -> str:
    words = state.question.words
    if readout is None or readout.value is None:
        return words.sentence(None, None, None, 0)
    match state.question.kind:
        case PairedKind.DISAGREEMENT:
            within = state.question.agree_within
            more = "" if within is None else f" by more than {number(within)}"
            ends = f"{words.level} {number(100 * (readout.low or 0.0))} to {share(readout.high or 0.0)}"
            return f"answers differ{more} in {share(readout.value)} of {state.information:,} pairs, {ends}"
        case PairedKind.BINARY | PairedKind.THRESHOLD:
            candidate_only, stable_only = discordant(state.pairs.difference)
            return (
                f"{words.subject}: {candidate_only:,} of {state.information:,} pairs for the candidate alone, "
                f"{stable_only:,} for {words.beside} alone"
            )
        case PairedKind.REAL:
            return words.sentence(readout.value, readout.low, readout.high, state.information)
