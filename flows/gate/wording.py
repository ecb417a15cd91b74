"""From a gate's state to its verdict, with figures and a reason that a person understands. Pure."""

from __future__ import annotations

from dataclasses import replace

from sluicegate.flows.gate.fold import ROOM, GateState
from sluicegate.flows.gate.labels import lacking, unlike
from sluicegate.flows.stats.confidence_sequences import rate_interval
from sluicegate.flows.stats.intervals import Estimate, estimate
from sluicegate.flows.stats.rate_below import RateBelowTest
from sluicegate.flows.stats.trial import LEAST_VALUES, Kind, Trial
from sluicegate.registry.report.reason import Wording
from sluicegate.registry.words.figures import number, share
from sluicegate.registry.words.metric import Arm, capped_name, level_name
from sluicegate.registry.words.tally import Tally
from sluicegate.registry.words.verdict import Answer, Verdict

_FEW = 5e-5
"""The share of labels below which a figure would say 0 %."""
_LOST = 1e-12
"""The share of a sum of squares below which the variation of values is lost in rounding."""
WITHOUT_CAP = "the values have no cap, so the chances are approximate"
_MOST_MISSING = 0.01
"""The share of missing values above which a metric is not trusted to pass."""


def gate_verdict(state: GateState, step: int) -> Verdict:
    """The verdict that follows from the state at a step."""
    question, trial = state.question, state.trial
    margin = question.margin(step)
    readout, is_scaled = _readout(state, margin), margin is not None and not question.design.moves_threshold
    stable, candidate = (state.counted(arm) for arm in Arm)
    words = _words(state)
    is_absolute = question.is_absolute
    answer, reason = _against_limit(state, words) if is_absolute else _answer(state, words, margin, readout)
    if answer is Answer.PASS and state.fresh is not None and question.fresh_at(step) is not None:
        answer, fresh = _fresh_answer(state.fresh, words)
        reason = f"{reason}; {fresh}"
    return Verdict(
        metric=question.metric,
        answer=answer,
        reason=reason,
        details=_details(state, margin) + beta_left(question.design.beta, question.declared_beta),
        step=step,
        k=trial.looks,
        guardrail=question.is_guardrail,
        margin=margin,
        bound=figure(_in_unit(trial, margin, readout)) if margin is not None and is_scaled else None,
        ruled_out=trial.margins_ruled_out,
        stable_n=stable.n,
        candidate_n=candidate.n,
        stable_mean=figure(mean_from(stable, question.design.origin)),
        candidate_mean=figure(mean_from(candidate, question.design.origin)),
        estimate=figure(readout.value),
        low=figure(readout.low),
        high=figure(readout.high),
        alpha=question.design.alpha,
        alpha_spent=figure(state.spent),
        beta_spent=None if question.is_guardrail else figure(_beta_spent(state)),
        information=figure(state.information) or 0.0,
        information_fraction=figure(state.information / trial.design.information) or 0.0,
        e_value=figure(trial.e_value if state.rate_above is None else state.rate_above.e_value),
        missing=stable.missing + candidate.missing,
    )


def _answer(state: GateState, words: Wording, margin: float | None, readout: Estimate) -> tuple[Answer, str]:
    """Failing is final and comes first; then doubts about the data; then the margin."""
    difference, below = _difference(state, words, readout), state.rate_below
    if state.failed_at is not None and not (state.unlike_at is not None and state.unlike_at <= state.failed_at):
        return Answer.FAIL, f"{_harm(state, words, difference)}{_beside(state, readout)}"
    doubt = _doubt(state)
    if state.information <= 0:
        scarce = f"too few {words.counted} yet to compare the builds"
        return Answer.NO_DATA, f"{words.whole_subject}: {doubt or scarce}"
    if doubt is not None:
        return Answer.NO_DATA, f"{words.whole_subject}: {doubt}"
    if state.trial.has_too_few_values:
        few = f"the candidate has {state.trial.sums.candidate.n:,} values so far; a mean needs at least {LEAST_VALUES}"
        return Answer.NO_DATA, f"{words.whole_subject}: {few}"
    if state.has_found:
        return Answer.UNDECIDED, f"{difference}; {_lacked(state)}"
    if state.question.is_guardrail:
        return Answer.UNDECIDED, _harmless(state, difference)
    if below is not None and below.shown_at is None:
        return Answer.UNDECIDED, _not_below(below, words)
    if below is not None and margin is None:
        return Answer.PASS, f"{difference}; shown to stay {_below(below)}"
    if margin is None:
        return Answer.PASS, f"{difference}; no harm found, and the plan asks for no margin"
    return _within(state, words, margin, readout)


def _against_limit(state: GateState, words: Wording) -> tuple[Answer, str]:
    """Whether the candidate's own rate is shown to break its limit, or to keep it."""
    limit, tally = f"below {share(state.question.below)}", state.counted(Arm.CANDIDATE)
    rate = rate_interval(round(tally.total), tally.n, 1 - words.confidence)
    doubt = _doubt(state)
    if rate is None:
        return Answer.NO_DATA, f"{words.subject}: {doubt or f'no {words.counted} of the candidate yet'}"
    of_candidate = words.rate(rate.value, rate.low, rate.high, tally.n)
    if state.failed_at is not None:
        return Answer.FAIL, f"{of_candidate}; shown not to stay {limit}" + (f"; besides, {doubt}" if doubt else "")
    if doubt is not None or state.information <= 0:
        scarce = f"too few {words.counted} of both builds to tell whether they come as they should"
        return Answer.NO_DATA, f"{words.subject}: {doubt or scarce}"
    if state.question.is_guardrail:
        return Answer.UNDECIDED, f"{of_candidate}; not shown to break the limit, {limit}"
    if state.rate_below is not None and state.rate_below.shown_at is None:
        return Answer.UNDECIDED, f"{of_candidate}; not yet shown to stay {limit}"
    return Answer.PASS, f"{of_candidate}; {stays_below(state.question.below or 0.0, rate.high)}"


def stays_below(bound: float, high: float | None) -> str:
    """The words for a rate that is shown to stay below a share; with the reason, if its interval reaches above."""
    shown = f"shown to stay below {share(bound)}"
    is_wide = high is not None and high > bound
    return f"{shown} by the one-sided test that decides; the interval is two-sided, and so wider" if is_wide else shown


def _within(state: GateState, words: Wording, margin: float, readout: Estimate) -> tuple[Answer, str]:
    """Whether the margin is ruled out, whatever the labels that are still missing."""
    at, difference = state.trial.ruled_out(margin), _difference(state, words, readout)
    goal = _goal(state, words, margin, readout)
    if at is None:
        return Answer.UNDECIDED, f"{difference}; not yet shown to be {goal}{_hint(state)}"
    if not _is_within_lacking(state, margin, readout):
        return Answer.UNDECIDED, f"{difference}; {goal}, but {_lacked(state)}"
    if state.are_labels_young:
        young = "fewer than half of the requests are old enough for their labels to have come"
        return Answer.UNDECIDED, f"{difference}; {goal}, but {young}"
    shown = _since_ruled_out(state, margin, readout) or ("shown to be " if margin == 0 else "")
    return Answer.PASS, f"{difference}; {shown}{goal}"


def _readout(state: GateState, margin: float | None) -> Estimate:
    """The estimate, with an end on both sides of every rate.

    With zeros only, or ones only, the tests say nothing: they rest on which build an event fell on. Then, and while a
    test gives no end yet, the end comes from each rate's own interval.
    """
    question, arms = state.question, [state.counted(arm) for arm in Arm]
    readout = estimate(state.trial, None if question.design.moves_threshold else margin)
    has_both_values = 0 < sum(arm.total for arm in arms) < sum(arm.n for arm in arms)
    if question.design.kind is not Kind.COUNT or readout.value is None:
        return readout
    if has_both_values and readout.low is not None and readout.high is not None:
        return readout
    sizes = [state.counted_units(arm) if state.by_unit else state.counted(arm).n for arm in Arm]
    alpha = min(question.design.alpha, question.design.beta) / len(sizes)
    stable, candidate = (
        rate_interval(round((tally.mean or 0.0) * n), n, alpha) for tally, n in zip(arms, sizes, strict=True)
    )
    if stable is None or candidate is None:
        return readout
    low, high = candidate.low - stable.high, candidate.high - stable.low
    if has_both_values:
        low, high = (own if own is not None else by_rate for own, by_rate in ((readout.low, low), (readout.high, high)))
    return replace(readout, low=low, high=high)


def _fresh_answer(fresh: GateState, words: Wording) -> tuple[Answer, str]:
    """Whether the last step's own rows show enough, when all rows together do."""
    margin, below = fresh.question.margin(0), fresh.rate_below
    if fresh.information <= 0:
        return Answer.UNDECIDED, f"the last step does not have {words.counted} of both builds yet"
    readout = _readout(fresh, margin)
    own = f"the last step's own {_compared(fresh):,} {words.counted}"
    if below is not None and below.shown_at is None:
        return Answer.UNDECIDED, f"{own} do not yet show it to stay {_below(below)}: {below.ones:,} of {below.n:,}"
    if margin is None:
        return Answer.PASS, f"{own} agree"
    goal = _goal(fresh, words, margin, readout)
    if not _is_within_lacking(fresh, margin, readout):
        return Answer.UNDECIDED, f"{own} show it to be {goal}, but {_lacked(fresh)}"
    if fresh.trial.ruled_out(margin) is None:
        return Answer.UNDECIDED, f"{own} do not yet show it to be {goal}"
    return Answer.PASS, f"{own} show it to be {goal}"


def _is_within_lacking(state: GateState, margin: float, readout: Estimate) -> bool:
    """Whether the candidate is within the margin even if all labels that it lacks are bad, or all that stable lacks
    good."""
    bound, sign = abs(_in_unit(state.trial, margin, readout)), state.trial.design.sign
    doubt = state.doubt_of_lacking(Arm.CANDIDATE, room=ROOM * bound)
    end = readout.high if sign > 0 else readout.low
    return doubt == 0 or (end is not None and sign * end + doubt <= bound)


def _lacked(state: GateState) -> str:
    """The words for labels that one build lacks and that could change the result."""
    stable, candidate = (each.share for each in lacking(state.question.metric, state.cells))
    if max(stable, candidate) < _FEW:
        return "labels that are still to come could change this"
    mine, other = ("the candidate's", "stable's") if candidate >= stable else ("stable's", "the candidate's")
    return f"this could change: {share(max(stable, candidate))} fewer of {mine} labels have come than of {other}"


def _harm(state: GateState, words: Wording, difference: str) -> str:
    """The harm in words; for predictions, the shares above the levels at which they differ."""
    if state.drift is None:
        return difference
    shares = []
    for side in state.drift.drifted:
        name = level_name(state.question.metric, side.level)
        candidate, stable = (state.counted(arm, name).mean or 0.0 for arm in (Arm.CANDIDATE, Arm.STABLE))
        shares.append(
            f"{share(candidate)} of the candidate's are above {words.beside}'s {share(side.level)} quantile, and "
            f"{share(stable)} of {words.beside}'s own"
        )
    return f"predictions differ from {words.beside}'s: {'; '.join(shares)}"


def _beside(state: GateState, readout: Estimate) -> str:
    """What must be added to a failure: that today's interval reaches 0, and that rows are lost."""
    sign = state.trial.design.sign
    end = readout.low if sign > 0 else readout.high
    is_wide = state.drift is None and (end is None or sign * end <= 0)
    widened = "; an earlier look showed it to be worse, and that stays" if is_wide else ""
    return widened + (f"; besides, {doubt}" if (doubt := _out_of_share(state)) else "")


def _since_ruled_out(state: GateState, margin: float, readout: Estimate) -> str:
    """Why a gate passes although today's interval reaches beyond the margin."""
    sign = state.trial.design.sign
    end = readout.high if sign > 0 else readout.low
    is_inside = end is not None and sign * end <= sign * _in_unit(state.trial, margin, readout)
    return "" if is_inside or state.question.design.moves_threshold else "an earlier look showed it to be "


def _harmless(state: GateState, difference: str) -> str:
    if state.question.tolerance is None:
        return f"{difference}; no harm found{_lost_spread(state)}"
    return f"{difference}; no drift beyond {share(state.question.tolerance)} found"


def _beta_spent(state: GateState) -> float:
    """The beta that the margins' tests have spent. The test of a rate below a share spends nothing at its looks and
    counts as half of its beta."""
    states = [each for each in (state, state.fresh) if each is not None]
    tests = [pair for each in states for pair in zip(each.trial.design.rungs, each.trial.margins, strict=True)]
    spent = [test.spent for rung, test in tests if rung.margin > 0] or [test.spent for _, test in tests]
    return max([*spent, state.rate_below.beta / 2 if state.rate_below is not None else 0.0])


def _details(state: GateState, margin: float | None) -> tuple[str, ...]:
    """What the sentence leaves out: the look that decided, the units, the values that count as the cap."""
    ruled_out = None if margin is None else state.trial.ruled_out(margin)
    return (
        *([] if state.failed_at is None else [f"{_found(state)} found at look {state.failed_at}"]),
        *([] if ruled_out is None else [f"margin ruled out at look {ruled_out}"]),
        *([] if state.rate_below is None or state.rate_below.shown_at is None
          else [f"a rate {_below(state.rate_below)} shown at look {state.rate_below.shown_at}"]),
        *_by_unit(state),
        *_capped(state),
        *_without_bounds(state),
    )  # fmt: skip


def _found(state: GateState) -> str:
    return "harm" if state.rate_above is None else "a broken limit"


def beta_left(beta: float, declared: float | None) -> tuple[str, ...]:
    """The words for the beta that earlier tries of the build by this plan have left, if they spent some."""
    return (
        ()
        if declared is None
        else (f"earlier tries of this build left {number(beta)} of beta, which was {number(declared)}",)
    )


def _below(test: RateBelowTest) -> str:
    return f"below {share(test.bound)}"


def _not_below(test: RateBelowTest, words: Wording) -> str:
    so_far = f"{test.ones:,} of {test.n:,} {words.counted} so far"
    return f"{words.whole_subject}: not yet shown to stay {_below(test)}, {so_far}"


def _doubt(state: GateState) -> str | None:
    """Why the gate must not pass on these data; None if it may."""
    if state.unsound:
        return (
            f"{state.unsound} recorded sums are impossible (not finite, negative, or no counts); nothing passes until "
            "they are repaired"
        )
    if state.unlike_at is not None:
        return unlike(state.question.metric, state.cells)
    if (doubt := _out_of_share(state)) is not None:
        return doubt
    for arm in Arm:
        tally = state.counted(arm)
        too_many = too_many_missing(tally)
        if too_many is not None:
            return f"{tally.missing:,} values of {arm} are missing ({too_many})"
    return None


def _is_spread_lost(state: GateState) -> bool:
    """Whether rounding leaves nothing of how values vary, so that harm cannot be found."""
    design, both = state.trial.design, state.counted(Arm.STABLE) + state.counted(Arm.CANDIDATE)
    is_by_squares = design.kind is Kind.MEAN and state.drift is None and not state.by_unit
    if not is_by_squares or both.n < LEAST_VALUES:
        return False
    return both.total != 0 and both.squares - both.total**2 / both.n < _LOST * both.squares


def _out_of_share(state: GateState) -> str | None:
    """The words for one build that has fewer rows than its share; None if it has not."""
    if state.ratio is None or not state.ratio.mismatch:
        return None
    got = state.ratio.candidate / max(state.ratio.candidate + state.ratio.stable, 1)
    return f"requests do not come in the shares that the weights ask for: the candidate got {share(got)}"


def too_many_missing(tally: Tally) -> str | None:
    """The share of missing values in words, if it is more than allowed."""
    lost = tally.missing / max(tally.missing + tally.n, 1)
    return None if lost <= _MOST_MISSING else f"{share(lost)}; at most {share(_MOST_MISSING)} is allowed"


def _by_unit(state: GateState) -> tuple[str, ...]:
    """How many units were judged, if units are; a unit that is met in two steps counts in both."""
    if not state.by_unit:
        return ()
    stable, candidate = (state.counted_units(arm) for arm in Arm)
    by_row = "" if state.rate_below is None else f"; the rate {_below(state.rate_below)} is judged by row"
    return (f"judged by unit: {stable:,} of stable, {candidate:,} of the candidate{by_row}",)


def _capped(state: GateState) -> tuple[str, ...]:
    """How many values count as the cap, if there is one."""
    stable, candidate = (state.counted(arm, capped_name(state.question.metric)) for arm in Arm)
    return capped_share(stable, candidate)


def capped_share(stable: Tally, candidate: Tally) -> tuple[str, ...]:
    """The shares of values that count as the cap, in words; empty if there is no cap."""
    if not (stable.n or candidate.n):
        return ()
    shares = [share(tally.mean) if tally.n else "none" for tally in (stable, candidate)]
    return (f"counted as the cap: {shares[0]} of stable's values, {shares[1]} of the candidate's",)


def _without_bounds(state: GateState) -> tuple[str, ...]:
    """The words for a mean without a cap, or by unit: its test is an approximation, which rare rows may break."""
    design = state.trial.design
    if design.kind is not Kind.MEAN or state.drift is not None:
        return ()
    if state.by_unit:
        return ("the chances of means by unit are approximate",)
    return () if design.bounds is not None else (WITHOUT_CAP,)


def _words(state: GateState) -> Wording:
    """The wording of the sentence; it counts units if units are judged."""
    words = state.question.words
    return replace(words, counted=words.units) if state.by_unit else words


def _compared(state: GateState) -> int:
    """The number of compared units if units are judged, else of rows."""
    if state.by_unit:
        return sum(state.counted_units(arm) for arm in Arm)
    return sum(state.counted(arm).n for arm in Arm)


def _difference(state: GateState, words: Wording, readout: Estimate) -> str:
    return words.sentence(readout.value, readout.low, readout.high, _compared(state))


def _goal(state: GateState, words: Wording, margin: float, readout: Estimate) -> str:
    """What a margin asks the candidate to be; for a moved threshold, how far it is moved."""
    if margin == 0:
        return "better"
    if state.question.design.moves_threshold:
        return f"less than {share(margin)} slower"
    return f"within the margin of {words.size(_in_unit(state.trial, margin, readout))} ({share(margin)})"


def _in_unit(trial: Trial, margin: float, readout: Estimate) -> float:
    """The relative harm as a difference of means, signed towards harm."""
    return trial.design.sign * margin * abs(readout.level or 0.0)


def _hint(state: GateState) -> str:
    """Why a gate cannot pass as it is: the spread of its values is lost, or there is no event at all."""
    trial = state.trial
    events = trial.sums.stable.total + trial.sums.candidate.total
    if trial.design.kind is Kind.COUNT and events == 0:
        return ": without a single event no relative margin can be ruled out; write below: 1%, or make it a guardrail"
    return _lost_spread(state)


def _lost_spread(state: GateState) -> str:
    """The words for values of a mean that are all but the same, and what to do about it."""
    if not _is_spread_lost(state):
        return ""
    return (
        "; values differ by less than a millionth of their size, too little for sums of squares: "
        "declare their range in the plan, so that they are counted from its middle"
    )


def mean_from(tally: Tally, origin: float) -> float | None:
    """The mean of values that were counted minus an origin."""
    return None if tally.mean is None else tally.mean + origin


def figure(value: float | None) -> float | None:
    """Ten significant digits, so that the last bits of one machine's arithmetic do not enter the record."""
    return None if value is None else float(f"{value:.10g}")
