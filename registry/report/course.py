"""The course of a rollout: its steps as planned and as carried out, and its weight over time. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeGuard

from sluicegate.registry.plan.fields import Step
from sluicegate.registry.plan.limits import limit_text
from sluicegate.registry.rollout.facts import Approved, Entry, Fact, Jumped, Observed, StepEntered
from sluicegate.registry.rollout.moves import advance, begin
from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.words.figures import share
from sluicegate.registry.words.units import format_duration


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """One step of the plan and what happened at it."""

    number: int
    """From 1."""
    weight: float
    """Planned, in per cent."""
    asks: tuple[str, ...]
    """The conditions for leaving it, in words."""
    state: str
    """done, under way, ended early, skipped or not reached."""
    entered_at: datetime | None = None
    observed_at: datetime | None = None
    """When the data plane was first observed to serve it."""
    left_at: datetime | None = None
    seconds: float | None = None
    """Time spent at it so far."""
    why: str = ""
    """Why the rollout left it, or what ended the rollout."""
    by: str = ""
    approved_by: str = ""


@dataclass(frozen=True, kw_only=True)
class WeightPoint:
    """A change of the desired weight, and when it took effect."""

    at: datetime
    epoch: int
    weight: float
    """In per cent."""
    observed_at: datetime | None
    what: str
    """The fact that changed it."""


def weight_points(entries: Sequence[Entry]) -> tuple[WeightPoint, ...]:
    """Every change of weight, in order. The first is 0 at the request."""
    points: list[WeightPoint] = []
    for entry, state in _states(entries):
        if not points or state.epoch != points[-1].epoch:
            what = type(entry.fact).__name__
            points.append(
                WeightPoint(at=entry.at, epoch=state.epoch, weight=state.weight / 100, observed_at=None, what=what)
            )
        elif isinstance(entry.fact, Observed) and points[-1].observed_at is None:
            points[-1] = replace(points[-1], observed_at=entry.at)
    return tuple(points)


def desired_weights(entries: Sequence[Entry]) -> dict[int, int]:
    """The desired weight of each epoch, in basis points."""
    return {state.epoch: state.weight for _, state in _states(entries)}


def step_reports(rollout: Rollout, entries: Sequence[Entry], now: datetime) -> tuple[StepReport, ...]:
    """Every step of the plan in order, with when it began and ended, and why."""
    states = _states(entries)
    return tuple(_step(rollout, number, step, states, now) for number, step in enumerate(rollout.plan.steps))


def _step(
    rollout: Rollout, number: int, step: Step, states: Sequence[tuple[Entry, Rollout]], now: datetime
) -> StepReport:
    planned = StepReport(number=number + 1, weight=step.weight / 100, asks=_asks(rollout, number), state="not reached")
    visit = _last_visit(states, number)
    if not visit:
        jump = next((entry.fact for entry, _ in states if _is_past(entry.fact, number)), None)
        return planned if jump is None else replace(planned, state="skipped", why=jump.reason, by=jump.actor)
    entered, last = visit[0][0], visit[-1][0]
    left = next((entry for entry, _ in states if entry.seq > last.seq), None)
    fact = left.fact if left else None
    return replace(
        planned,
        state=_state(fact, rollout.phase),
        entered_at=entered.at,
        observed_at=next((state.step_observed_at for _, state in visit if state.step_observed_at), None),
        left_at=left.at if left else None,
        seconds=((left.at if left else now) - entered.at).total_seconds(),
        why=str(getattr(fact, "reason", "") or getattr(fact, "by", "")),
        by=str(getattr(fact, "actor", "")),
        approved_by=_approver(visit, number),
    )


def _state(left: object, phase: Phase) -> str:
    if left is None:
        return "under way" if phase is not Phase.PAUSED else "paused"
    is_on = isinstance(left, StepEntered) or type(left).__name__ in ("Promoted", "Established", "Concluded")
    return "done" if is_on else "ended early"


def _last_visit(states: Sequence[tuple[Entry, Rollout]], number: int) -> list[tuple[Entry, Rollout]]:
    """The entries during a visit to a step; of the last visit, if the rollout came back to it."""
    visit: list[tuple[Entry, Rollout]] = []
    for entry, state in states:
        if state.step != number or state.took_over or state.phase is Phase.ENDED:
            continue
        if visit and entry.seq != visit[-1][0].seq + 1:
            visit = []
        visit.append((entry, state))
    return visit


def _is_past(fact: Fact, number: int) -> TypeGuard[Jumped]:
    """Whether the fact is a jump that skipped this step."""
    return isinstance(fact, Jumped) and fact.former < number < fact.step


def _approver(visit: Sequence[tuple[Entry, Rollout]], number: int) -> str:
    facts = [entry.fact for entry, _ in visit if isinstance(entry.fact, Approved)]
    return next((fact.actor for fact in facts if fact.step == number), "")


def _asks(rollout: Rollout, number: int) -> tuple[str, ...]:
    """The plan's conditions for leaving the step."""
    plan, step = rollout.plan, rollout.plan.steps[number]
    margins = [(gate, plan.margin(gate, number)) for gate in plan.deciding_gates]
    conditions = [f"{gate.metric} at most {share(margin)} worse" for gate, margin in margins if margin is not None]
    limits = [(gate.metric, limit_text(gate.below)) for gate in plan.deciding_gates if gate.below is not None]
    conditions += [f"{metric} below {limit}" for metric, limit in limits]
    conditions += [f"{each.name} {each.limit}" for each in plan.external if each.name in plan.must_pass]
    conditions += [f"{step.min_requests:,} requests"] if step.min_requests else []
    conditions += [f"{'bake' if plan.switches else 'soak'} {format_duration(step.soak)}"] if step.soak else []
    conditions += ["approval by a person"] if step.approval or not plan.deciding_gates else []
    return tuple(conditions)


def _states(entries: Sequence[Entry]) -> tuple[tuple[Entry, Rollout], ...]:
    """Every entry with the state after it."""
    states: list[tuple[Entry, Rollout]] = []
    for entry in entries:
        states.append((entry, advance(states[-1][1], entry) if states else begin(entry)))
    return tuple(states)
