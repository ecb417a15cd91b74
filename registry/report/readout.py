"""Readout: what an experiment shows, one line for each variation, and which variation won. Reads the ledger only."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sluicegate.registry.audience.layout import SLOTS
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.experiment import UNCOUNTED, has_begun, layout, of, together
from sluicegate.registry.rollout.rollout import Ending, Rollout
from sluicegate.registry.words.errors import NotFound
from sluicegate.registry.words.metric import Worse
from sluicegate.registry.words.units import format_share
from sluicegate.registry.words.verdict import Answer, Verdict


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A variation beside the control, by the goal's metric."""

    variation: str
    build: str
    rollout: str
    """The comparison: its record, its looks, its guardrails."""
    share: float
    """Of the audience's requests, in per cent, by the plan."""
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
    reason: str


@dataclass(frozen=True, kw_only=True)
class Readout:
    """An experiment at a glance."""

    experiment: str
    model: str
    audience: str
    metric: str
    margin: float
    """0: better than the control is the goal; else no worse than that share."""
    alpha: float
    control: str
    control_build: str | None
    control_share: float
    """Of the audience's requests, in per cent, by the plan; those that are held out not among them."""
    held_out: float
    """The share that stays with the control and is not counted, in per cent."""
    control_rows: int
    control_mean: float | None
    compared: tuple[Compared, ...]
    winner: str | None
    """The best of those that reached the goal; none while none has, or rows do not come in their shares."""
    is_over: bool
    began_at: datetime | None
    """When its last variation entered; none before that."""
    lasts: float
    """Seconds after which it ends, decided or not."""
    then: str
    """What follows a variation that reached the goal: conclude (a person decides) or promote."""

    def as_json(self) -> dict[str, object]:
        """The readout as JSON values."""
        return {**dataclasses.asdict(self), "began_at": self.began_at.isoformat() if self.began_at else None}


def find(ledger: Ledger, name: str) -> tuple[Rollout, ...]:
    """The comparisons of an experiment, by its id, by one of theirs, or the last of a model. Raises NotFound."""
    rollouts = ledger.rollouts()
    group = together(rollouts, name)
    if group:
        return group
    known = [each for each in rollouts if name in (each.id, each.requested.model) and each.requested.experiment]
    if not known:
        raise NotFound(f"there is no experiment {name!r}.", fix="start one: sluice experiment start MODEL")
    return together(rollouts, known[-1].requested.experiment)


def experiments(ledger: Ledger, model: str | None = None) -> tuple[tuple[Rollout, ...], ...]:
    """The comparisons of every experiment, of one model or of all, newest first."""
    found: dict[str, list[Rollout]] = {}
    for rollout in ledger.rollouts(model=model):
        if rollout.requested.experiment is not None:
            found.setdefault(rollout.requested.experiment, []).append(rollout)
    return tuple(tuple(group) for group in reversed(found.values()))


def readout(ledger: Ledger, group: Sequence[Rollout]) -> Readout:
    """What the comparisons of one experiment show now."""
    plan, ab = Plan.recorded(group[0].requested.plan), of(group[0].plan)
    verdicts = {each.id: goal_verdict(ledger, each) for each in group}
    most = max(verdicts.values(), key=lambda verdict: verdict.stable_n if verdict else 0)
    best = _best(group, verdicts)
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


def winner(ledger: Ledger, group: Sequence[Rollout]) -> Rollout | None:
    """The comparison whose variation reached the goal and does best at it; one that was stopped is none."""
    return _best(group, {each.id: goal_verdict(ledger, each) for each in group})


def _best(group: Sequence[Rollout], verdicts: Mapping[str, Verdict | None]) -> Rollout | None:
    sign = -1 if of(group[0].plan).goal.metric in _where_lower_is_worse(group[0].plan) else 1
    sound = [each for each in group if each.has_passed and each.ending in (None, Ending.CONCLUDED)]
    judged = [(verdict.estimate, each) for each in sound if (verdict := verdicts[each.id]) is not None]
    known = [(sign * estimate, each.id, each) for estimate, each in judged if estimate is not None]
    return min(known, default=(0.0, "", None))[2]


def goal_verdict(ledger: Ledger, rollout: Rollout) -> Verdict | None:
    """The last recorded verdict on the goal."""
    goal = of(rollout.plan).goal.metric
    return next((look.verdict for look in ledger.last_looks(rollout.id) if look.metric == goal), None)


def _where_lower_is_worse(plan: Plan) -> frozenset[str]:
    return frozenset(name for name, metric in plan.metrics.items() if metric.worse is Worse.LOWER)


def _compared(rollout: Rollout, verdict: Verdict | None, share: float) -> Compared:
    known = rollout.judgements.get(of(rollout.plan).goal.metric)
    answer = Answer(known.answer) if known else Answer.NO_DATA
    return Compared(
        variation=rollout.requested.variation, build=rollout.requested.version, rollout=rollout.id, share=share,
        state=(rollout.ending or rollout.phase).value, answer=answer.label,
        rows=verdict.candidate_n if verdict else 0, mean=verdict.candidate_mean if verdict else None,
        estimate=verdict.estimate if verdict else None, low=verdict.low if verdict else None,
        high=verdict.high if verdict else None, reason=rollout.reason if rollout.is_ended else _why(rollout, verdict),
    )  # fmt: skip


def _why(rollout: Rollout, verdict: Verdict | None) -> str:
    """What is known so far; of a variation that reached the goal, that it did."""
    if verdict is None:
        return rollout.reason
    if verdict.answer is not Answer.PASS or None in (verdict.estimate, verdict.low, verdict.high):
        return verdict.reason
    margin = of(rollout.plan).goal.margin or 0.0
    what = "better than the control" if margin == 0 else f"no more than {format_share(margin)} worse than the control"
    return f"{what}: {verdict.estimate:+.3g} [{verdict.low:+.3g}, {verdict.high:+.3g}]"
