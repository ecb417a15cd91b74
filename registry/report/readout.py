"""Readout: the result of an experiment so far, one line for each variation, and which variation won. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sluicegate.registry.audience.layout import SLOTS
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.report.reason import unit_of
from sluicegate.registry.rollout.experiment import UNCOUNTED, experiment_spec, has_begun, layout
from sluicegate.registry.rollout.facts import Party
from sluicegate.registry.rollout.record import RolloutRecord
from sluicegate.registry.rollout.rollout import Ending, Rollout
from sluicegate.registry.rollout.standing import trusted
from sluicegate.registry.words.metric import Worse
from sluicegate.registry.words.verdict import Answer, Look, Verdict


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A variation compared with the control, by the goal's metric."""

    variation: str
    build: str
    rollout: str
    """The comparison's rollout, with its record, looks and guardrails."""
    share: float
    """The variation's share of the audience's requests, in per cent, by the plan."""
    state: str
    """Its phase, or how it ended."""
    answer: str
    """PASS: it reached the goal; FAIL: it is worse; UNDECIDED or NO DATA."""
    rows: int
    mean: float | None
    estimate: float | None
    """Variation minus control."""
    low: float | None
    """Lower end of the interval. All intervals hold together, at every look, with the plan's alpha on each side."""
    high: float | None
    bound: float | None
    """The margin in the metric's unit, signed towards harm; None without a verdict."""
    reason: str
    unit: str
    """The unit of its values: plain, share or seconds."""


@dataclass(frozen=True, kw_only=True)
class Readout:
    """The state of an experiment at a glance."""

    experiment: str
    model: str
    audience: str
    metric: str
    margin: float
    """0: the goal is to be better than the control; otherwise, to be no worse than by this share."""
    alpha: float
    control: str
    control_build: str | None
    control_share: float
    """The control's share of the audience's requests, in per cent, by the plan, without held-out requests."""
    held_out: float
    """The share that stays with the control and is not counted, in per cent."""
    control_rows: int
    control_mean: float | None
    compared: tuple[Compared, ...]
    winner: str | None
    """The best variation that reached the goal; None if none has, or if requests do not come in their shares."""
    is_over: bool
    began_at: datetime | None
    """When its last variation entered; None before that."""
    lasts: float
    """Seconds after which it ends, decided or not."""
    then: str
    """What follows when a variation has reached the goal: conclude (a person decides) or promote."""


def experiment_readout(comparisons: Sequence[RolloutRecord]) -> Readout:
    """The present result of an experiment's comparisons. Their records must hold the last looks."""
    group, verdicts = [each.rollout for each in comparisons], {each.rollout.id: _verdict(each) for each in comparisons}
    plan, ab = Plan.recorded(group[0].requested.plan), experiment_spec(group[0].plan)
    most = max(verdicts.values(), key=lambda verdict: verdict.stable_n if verdict else 0)
    best = winner(comparisons)
    shares = {part.variation: 100 * part.slots / SLOTS for part in layout(ab)}
    entered = [each.step_entered_at for each in group]
    return Readout(
        experiment=group[0].requested.experiment or "", model=plan.model, audience=ab.audience, metric=ab.goal.metric,
        margin=ab.goal.margin or 0.0, alpha=ab.goal.alpha, control=plan.variation, control_build=group[0].stable,
        control_share=shares[plan.variation], held_out=shares.get(UNCOUNTED, 0.0),
        control_rows=most.stable_n if most else 0, control_mean=most.stable_mean if most else None,
        compared=tuple(_compared(each, verdicts[each.id], shares[each.requested.variation]) for each in group),
        winner=best.requested.variation if best else None, is_over=all(each.is_ended for each in group),
        began_at=max((at for at in entered if at is not None), default=None) if has_begun(group) else None,
        lasts=ab.max_time, then=ab.then,
    )  # fmt: skip


WAITS = timedelta(days=7)
"""How long an ended experiment waits for somebody to release its winner."""


def winner_to_decide(readout: Readout, comparisons: Sequence[RolloutRecord], of_model: Sequence[Rollout],
                     now: datetime) -> Compared | None:  # fmt: skip
    """The variation that reached the goal and that a person should release or not; None if there is nothing to decide.

    There is nothing to decide if the plan promotes the winner, if a person ended the experiment, if the control has
    another build by now, or once a week has passed since the end.
    """
    best = next((each for each in readout.compared if each.variation == readout.winner), None)
    if best is None or readout.then == "promote":
        return None
    ended = [each.rollout for each in comparisons if each.rollout.id == best.rollout and each.rollout.ended_at]
    if not readout.is_over:
        return best
    control = trusted(each for each in of_model if each.target == (readout.model, readout.control))
    is_as_it_was = control is not None and control.requested.version == readout.control_build
    is_open = any(each.party is Party.POLICY and each.ended_at and now - each.ended_at < WAITS for each in ended)
    return best if is_as_it_was and is_open else None


@dataclass(frozen=True, kw_only=True)
class Arrivals:
    """How many rows of a variation had been compared at which time."""

    variation: str
    points: tuple[tuple[float, int], ...]
    """Seconds since the experiment began, and rows."""


def arrivals(readout: Readout, looks: Mapping[str, Sequence[Look]]) -> tuple[Arrivals, ...]:
    """The arrivals of the control, then of each variation, from the looks at the goal in each comparison."""
    began = readout.began_at
    if began is None:
        return ()
    by_variation = {each.variation: looks.get(each.rollout, ()) for each in readout.compared}
    longest = max(by_variation.values(), key=len, default=())
    points = {readout.control: [(look.at, look.verdict.stable_n) for look in longest]}
    points |= {name: [(look.at, look.verdict.candidate_n) for look in its] for name, its in by_variation.items()}
    return tuple(
        Arrivals(variation=name, points=tuple(((at - began).total_seconds(), rows) for at, rows in counts))
        for name, counts in points.items()
    )


def winner(comparisons: Sequence[RolloutRecord]) -> Rollout | None:
    """The comparison whose variation reached the goal with the best result. Stopped ones do not count."""
    plan = comparisons[0].rollout.plan
    sign = -1 if plan.metrics[experiment_spec(plan).goal.metric].worse is Worse.LOWER else 1
    reached = [(each.rollout, _verdict(each)) for each in comparisons if _has_reached_goal(each.rollout)]
    candidates = [
        (sign * verdict.estimate, rollout.id, rollout)
        for rollout, verdict in reached
        if verdict is not None and verdict.estimate is not None
    ]
    return min(candidates, default=(0.0, "", None))[2]


def _has_reached_goal(rollout: Rollout) -> bool:
    return rollout.has_passed and rollout.ending in (None, Ending.CONCLUDED)


def _verdict(comparison: RolloutRecord) -> Verdict | None:
    """The last recorded verdict on the goal."""
    goal = experiment_spec(comparison.rollout.plan).goal.metric
    return next((look.verdict for look in reversed(comparison.looks) if look.metric == goal), None)


def _compared(rollout: Rollout, verdict: Verdict | None, share: float) -> Compared:
    judgement = rollout.judgements.get(experiment_spec(rollout.plan).goal.metric)
    answer = Answer(judgement.answer) if judgement else Answer.NO_DATA
    return Compared(
        variation=rollout.requested.variation, build=rollout.requested.version, rollout=rollout.id, share=share,
        state=(rollout.ending or rollout.phase).value, answer=answer.label,
        rows=verdict.candidate_n if verdict else 0, mean=verdict.candidate_mean if verdict else None,
        estimate=verdict.estimate if verdict else None, low=verdict.low if verdict else None,
        high=verdict.high if verdict else None, bound=verdict.bound if verdict else None,
        reason=rollout.reason if rollout.is_ended or verdict is None else verdict.reason,
        unit=unit_of(rollout.plan.metrics[experiment_spec(rollout.plan).goal.metric]).value,
    )  # fmt: skip
