"""Explanation: why a rollout is in its state, with each gate's inputs, interval and threshold. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sluicegate.registry.plan.fields import Strategy
from sluicegate.registry.report.external_view import ExternalGateView
from sluicegate.registry.report.report import GateReport, LookPoint, Report
from sluicegate.registry.report.view import GateView
from sluicegate.registry.rollout.external import NO_TEST
from sluicegate.registry.rollout.rollout import Phase
from sluicegate.registry.words.figures import Unit, difference, interval, measured, number, share
from sluicegate.registry.words.units import format_duration


@dataclass(frozen=True, kw_only=True)
class GateExplanation:
    """Why a gate gives its answer."""

    metric: str
    verdict: str
    kind: str
    """gate or guardrail."""
    inputs: str
    """The values that it judges."""
    interval: str
    """The interval that follows from them, at every look so far."""
    threshold: str
    """What the interval is compared with."""
    why: str
    change: str
    """What would change the answer."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why a rollout is in its present state."""

    rollout: str
    state: str
    why: str
    next: str
    """What happens next, and when."""
    gates: tuple[GateExplanation, ...]
    errors: Mapping[str, str]
    """The errors of each arm by cause, in words."""


def explanation(report: Report) -> Explanation:
    """Explain why the rollout is in its present state."""
    rollout = report.rollout
    by = f" (by {rollout.actor})" if rollout.actor else ""
    return Explanation(
        rollout=rollout.id,
        state=rollout.ending or rollout.phase,
        why=f"{rollout.reason}{by}",
        next=_next(report),
        gates=(
            *(_gate(gate, is_alone=rollout.strategy == Strategy.BLUE_GREEN) for gate in report.gates),
            *(_external(gate) for gate in rollout.external),
        ),
        errors={each.arm: str(each) for each in report.errors},
    )


def _next(report: Report) -> str:
    rollout = report.rollout
    if rollout.blind is not None or rollout.no_driver is not None:
        return rollout.blind or rollout.no_driver or ""
    if rollout.ending is not None:
        return "nothing: the rollout has ended"
    if rollout.needs_person:
        return f"a person must act: {rollout.waits_for or rollout.reason}"
    if rollout.phase == Phase.CONFIRMING:
        return rollout.waits_for or rollout.reason
    if rollout.phase == Phase.BAKING:
        return "the end of the bake, when the former stable stops"
    after = next((step for step in report.steps if step.state == "not reached"), None)
    last = "then the end of the experiment" if rollout.strategy == Strategy.AB else "then promotion"
    then = f"then {after.weight:g} %" if after else last
    return f"{rollout.waits_for}, {then}" if rollout.waits_for else then


def _gate(gate: GateReport, *, is_alone: bool) -> GateExplanation:
    view, last = gate.view, gate.looks[-1] if gate.looks else None
    return GateExplanation(
        metric=view.metric,
        verdict=view.verdict,
        kind=f"{'guardrail' if view.guardrail else 'gate'}{' with mode: watch' if view.then == 'nothing' else ''}",
        inputs=(
            f"stable {measured(view.stable, Unit(view.unit))} over {view.stable_n:,} values, candidate "
            f"{measured(view.candidate, Unit(view.unit))} over {view.candidate_n:,} values; {gate.worse} is worse"
        ),
        interval=_ALONE if is_alone else _interval(gate, last),
        threshold=_limit(view) if is_alone else _threshold(gate, last),
        why=view.reason,
        change=_change(gate, last),
    )


def _external(gate: ExternalGateView) -> GateExplanation:
    values = [each.value for each in gate.samples if each.value is not None]
    last = f", the last is {number(values[-1])}" if values else ""
    watches = " with mode: watch" if gate.then == "nothing" else ""
    lacks = f", and {len(gate.samples) - len(values):,} readings without one" if len(values) < len(gate.samples) else ""
    return GateExplanation(
        metric=gate.gate,
        verdict=gate.verdict,
        kind=f"external {'guardrail' if gate.guardrail else 'gate'}{watches}",
        inputs=f"{len(values):,} values of {gate.source}{last}{lacks}",
        interval=f"none: {NO_TEST}",
        threshold=f"{gate.limit}: it fails once {gate.fails} samples break the limit",
        why=gate.reason,
        change=_AFTER_FAILURE[gate.then] if gate.verdict == "FAIL" else "the next samples of its source",
    )


_ALONE = "no comparison: stable has no requests, so the candidate's own rate is compared with the limit"


def _interval(gate: GateReport, last: LookPoint | None) -> str:
    if last is None or last.estimate is None:
        return "none yet: no look has compared both builds"
    spent = f"{number(gate.alpha_spent)} of alpha {number(gate.alpha)} is spent after {last.k} looks"
    unit = Unit(gate.view.unit)
    apart = f"candidate minus stable {difference(last.estimate, unit)}, CI {interval(last.low, last.high, unit)}"
    worst = (f"worst slices: {', '.join(map(str, gate.view.slices))}",) if gate.view.slices else ()
    return "; ".join((apart, spent, *gate.view.details, *worst))


def _threshold(gate: GateReport, last: LookPoint | None) -> str:
    if gate.view.below is not None and (gate.view.guardrail or gate.view.slower_than is not None):
        return _limit(gate.view)
    fails = "it fails once the interval shows the candidate to be worse"
    rate = [] if gate.view.below is None else [f"the candidate's rate is shown to be below {share(gate.view.below)}"]
    if gate.view.margin is None:
        return f"harm: {fails}" if gate.view.guardrail else f"harm: {fails}, and passes once {_before_pass(rate)}"
    also = "".join(f", and {each}" for each in rate)
    bound = (
        f", which is {difference(last.bound, Unit(gate.view.unit))}"
        if last is not None and last.bound is not None
        else ""
    )
    passes = f"it passes once the interval has excluded that much harm{also}, and fails once it shows harm"
    return f"a margin of {share(gate.view.margin)}{bound}: {passes}"


def _limit(view: GateView) -> str:
    """The threshold in words, for a limit that does not depend on stable."""
    slow = "" if view.slower_than is None else f" of requests slower than {format_duration(view.slower_than)}"
    passes = "" if view.guardrail else f", and passes once it is shown to stay below {share(view.below)}"
    return f"a limit{slow}: it fails once the candidate's rate is shown not to stay below {share(view.below)}{passes}"


def _before_pass(rate: Sequence[str]) -> str:
    return " and ".join(rate) or "both builds have been compared and no harm was found"


def _change(gate: GateReport, last: LookPoint | None) -> str:
    match gate.view.verdict:
        case "FAIL":
            return _AFTER_FAILURE[gate.view.then]
        case "PASS":
            return "a later look that shows harm, or the next step, whose margin may be smaller"
        case "NO DATA":
            return f"data to judge: {gate.view.reason}"
        case _:
            return _open(gate, last)


_AFTER_FAILURE = {
    "abort": "nothing: a failure is final for this rollout; only a new rollout is judged again",
    "pause": "a named person: resuming overrides the failure, and the requests after that are judged again",
    "nothing": "nothing: a failure is final for this rollout, though with mode: watch it stops nothing",
}


def _open(gate: GateReport, last: LookPoint | None) -> str:
    """For an undecided gate: how much more information it would need if the difference stays the same."""
    if gate.view.guardrail:
        return "an interval that shows harm would fail it; a guardrail never passes"
    if gate.view.margin is None:
        return f"more data: {gate.view.reason}"
    end = None if last is None else last.high if gate.worse == "higher" else last.low
    if last is None or last.estimate is None or end is None or last.bound is None:
        return "more data: the interval has no end on the harmful side yet"
    room, width = abs(last.bound - last.estimate), abs(end - last.estimate)
    is_beyond = last.estimate >= last.bound if gate.worse == "higher" else last.estimate <= last.bound
    unit = Unit(gate.view.unit)
    if is_beyond or room == 0:
        beyond = f"at present it exceeds {difference(last.bound, unit)}"
        return f"a smaller difference: {beyond}, and more data alone would not let it pass"
    more = max((width / room) ** 2 - 1, 0.0) * last.candidate_n
    stays = f"if the difference stays {difference(last.estimate, unit)}"
    return f"about {_round(more):,} more values of the candidate would let it pass {stays}"


def _round(count: float) -> int:
    """Two significant digits, because it is only an estimate."""
    if count < 10:
        return math.ceil(count) or 1
    size = 10 ** (math.floor(math.log10(count)) - 1)
    return int(round(count / size) * size)
