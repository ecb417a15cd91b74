"""From a gate's state to its verdict, with figures and a reason that a person understands. Pure."""

from __future__ import annotations

from sluicegate.flows.gate.fold import State
from sluicegate.flows.stats.cap import CapTest
from sluicegate.flows.stats.intervals import Estimate, estimate
from sluicegate.flows.stats.trial import Kind, Trial
from sluicegate.registry.plan.fields import GateSpec
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.metric import Arm, capped_name, level_name
from sluicegate.registry.words.units import format_share
from sluicegate.registry.words.verdict import Answer, Verdict

_MOST_MISSING = 0.01
"""The share of missing values in an arm above which a metric is not trusted to pass."""


def say(*, plan: Plan, gate: GateSpec, guardrail: bool, step: int, k: int, state: State) -> Verdict:
    """The verdict that the state amounts to at a step."""
    margin = None if guardrail else plan.margin(gate, step)
    moves = state.asked.moves_threshold
    readout = estimate(state.trial, None if moves else margin)
    stable, candidate = state.trial.sums.stable, state.trial.sums.candidate
    answer, reason = _answer(state, guardrail, margin, readout, moves)
    return Verdict(
        metric=gate.metric,
        answer=answer,
        reason=reason + _by_unit(state) + _capped_share(state),
        step=step,
        k=k,
        guardrail=guardrail,
        margin=margin,
        bound=None if margin is None or moves else figure(_in_unit(state.trial, margin, readout)),
        ruled_out=_ruled_out(state.trial),
        stable_n=stable.n,
        candidate_n=candidate.n,
        stable_mean=figure(stable.total / stable.n if stable.n else None),
        candidate_mean=figure(candidate.total / candidate.n if candidate.n else None),
        estimate=figure(readout.value),
        low=figure(readout.low),
        high=figure(readout.high),
        alpha=gate.alpha,
        alpha_spent=figure(state.spent),
        information=figure(state.information) or 0.0,
        information_fraction=figure(state.information / state.trial.design.information) or 0.0,
        e_value=figure(state.trial.e_value),
        missing=sum(state.counted(arm).missing for arm in Arm),
    )


def _answer(state: State, guardrail: bool, margin: float | None, readout: Estimate, moves: bool) -> tuple[Answer, str]:
    """Failing is final and comes first; then doubts about the data; then the margin."""
    trial, seen = state.trial, _interval(readout)
    if state.failed_at is not None:
        return Answer.FAIL, f"{_harm(state, seen)}, found at look {state.failed_at}{_since_found(state, readout)}"
    if not (trial.sums.stable.n and trial.sums.candidate.n):
        return Answer.NO_DATA, "no look with rows of both arms yet"
    doubt = _doubt(state)
    if doubt is not None:
        return Answer.NO_DATA, doubt
    if guardrail:
        return Answer.UNDECIDED, _harmless(state, seen)
    if state.cap is not None and state.cap.shown_at is None:
        return Answer.UNDECIDED, f"{_capped(state.cap)} is not shown yet: {state.cap.ones} of {state.cap.n}"
    if state.cap is not None and margin is None:
        return Answer.PASS, f"{_capped(state.cap)} shown at look {state.cap.shown_at}: {seen}"
    if margin is None:
        return Answer.PASS, f"no harm found, and no margin asked for: {seen}"
    bound = _bound(trial, margin, readout, moves)
    at = trial.ruled_out(margin)
    if at is not None:
        since = "" if moves else _since_ruled_out(trial, margin, readout)
        return Answer.PASS, f"{bound} ruled out at look {at}: {seen}{since}"
    return Answer.UNDECIDED, f"{seen} against {bound}{_hint(state)}"


def _harm(state: State, seen: str) -> str:
    """What was found; of predictions, the shares above the levels at which they differ."""
    if state.drift is None:
        return f"worse than stable: {seen}"
    shares = []
    for side in state.drift.drifted:
        name = level_name(state.asked.metric, side.level)
        candidate, stable = (state.counted(arm, name).mean or 0.0 for arm in (Arm.CANDIDATE, Arm.STABLE))
        shares.append(f"{candidate:.1%} lie above stable's {side.level:.0%} quantile, of stable's {stable:.1%}")
    return f"predictions differ from stable's: {'; '.join(shares)}"


def _since_found(state: State, readout: Estimate) -> str:
    """Why a gate fails although today's interval reaches 0."""
    sign = state.trial.design.sign
    end = readout.low if sign > 0 else readout.high
    if state.drift is not None or (end is not None and sign * end > 0):
        return ""
    return "; what was found stays found, though by now the interval reaches 0"


def _since_ruled_out(trial: Trial, margin: float, readout: Estimate) -> str:
    """Why a gate passes although today's interval reaches beyond the margin."""
    sign = trial.design.sign
    end = readout.high if sign > 0 else readout.low
    if end is not None and sign * end <= sign * _in_unit(trial, margin, readout):
        return ""
    return "; what was ruled out stays ruled out, though by now the interval reaches beyond it"


def _harmless(state: State, seen: str) -> str:
    if state.asked.tolerance is None:
        return f"no harm found: {seen}"
    return f"no drift beyond {format_share(state.asked.tolerance)} found: mean prediction {seen}"


def _capped(cap: CapTest) -> str:
    return f"a rate below {format_share(cap.cap)}"


def _doubt(state: State) -> str | None:
    """Why the data cannot be trusted to pass, if they cannot."""
    if state.unsound:
        return (
            f"{state.unsound} tallies cannot be true (not finite, negative, or no counts); held until they are mended"
        )
    if state.ratio is not None and state.ratio.mismatch:
        seen = state.ratio.candidate / max(state.ratio.candidate + state.ratio.stable, 1)
        return f"rows do not come in the shares that the weights ask for: the candidate's is {seen:.2%}"
    for arm in Arm:
        tally = state.counted(arm)
        share = tally.missing / max(tally.missing + tally.n, 1)
        if share > _MOST_MISSING:
            shown, most = format_share(round(share, 3)), format_share(_MOST_MISSING)
            return f"{tally.missing} values of {arm} are missing ({shown}; at most {most} is trusted)"
    return None


def _by_unit(state: State) -> str:
    """How many units were judged, where units are; one that is met in two steps counts in both."""
    if not state.trial.design.by_cohort:
        return ""
    stable, candidate = (state.counted_units(arm) for arm in Arm)
    by_row = "" if state.cap is None else f", but {_capped(state.cap)} by row"
    return f"; by unit: {stable:,} of stable, {candidate:,} of the candidate{by_row}"


def _capped_share(state: State) -> str:
    """How many values count as the declared cap, where there is one."""
    tallies = [state.counted(arm, capped_name(state.asked.metric)) for arm in Arm]
    if not any(tally.n for tally in tallies):
        return ""
    shares = [format_share(round(tally.total / tally.n, 4)) if tally.n else "none" for tally in tallies]
    return f"; capped: {shares[0]} of stable's values, {shares[1]} of the candidate's"


def _ruled_out(trial: Trial) -> tuple[float, ...]:
    return tuple(rung.margin for rung in trial.design.rungs if trial.ruled_out(rung.margin) is not None)


def _interval(readout: Estimate) -> str:
    if readout.value is None:
        return "no comparison yet"
    low = "…" if readout.low is None else f"{readout.low:+.3g}"
    high = "…" if readout.high is None else f"{readout.high:+.3g}"
    return f"{readout.value:+.3g} [{low}, {high}]"


def _bound(trial: Trial, margin: float, readout: Estimate, moves: bool) -> str:
    """The margin in the metric's unit; of a moved threshold, how far it is moved."""
    if moves:
        return f"durations {format_share(margin)} longer"
    return f"{_in_unit(trial, margin, readout):+.3g} ({format_share(margin)})"


def _in_unit(trial: Trial, margin: float, readout: Estimate) -> float:
    """The relative harm as a difference of means, signed towards harm."""
    return trial.design.sign * margin * (readout.level or 0.0)


def _hint(state: State) -> str:
    """Why a count metric without any event cannot pass."""
    trial = state.trial
    events = trial.sums.stable.total + trial.sums.candidate.total
    if trial.design.kind is Kind.COUNT and events == 0:
        return "; without a single event no relative margin can be ruled out: write below: 1%, or make it a guardrail"
    return ""


def figure(value: float | None) -> float | None:
    """Ten significant digits, so that the last bits of one machine's arithmetic do not enter the record."""
    return None if value is None else float(f"{value:.10g}")
