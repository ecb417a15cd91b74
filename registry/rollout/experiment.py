"""Experiment: variations that share an audience, each compared with the control. Pure.

An experiment is a set of rollouts with strategy ab, called comparisons: one for each variation except the control. Each
has its own looks, verdicts and ending, so that one variation can be stopped while the others go on. They share the
frozen plan, the time at which they begin, the control's requests, and the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sluicegate.registry.audience.layout import SLOTS, SlotRun, lay_out
from sluicegate.registry.plan.fields import ExperimentSpec
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.rollout import Ending, Rollout
from sluicegate.registry.rollout.standing import Standing, standings
from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.errors import TargetBusy

UNCOUNTED = ""
"""The owner of slots that stay with the control and are not counted."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """How an experiment in force shares the slots of its audience."""

    experiment: str
    """Its id. The control's requests are counted under it, and it is part of the salt throughout the experiment."""
    model: str
    audience: str
    control: BuildRef
    control_variation: str
    weight: int
    """The control's share of the slots, in basis points."""
    arms: Mapping[str, Rollout]
    """The comparison of each variation that still takes part."""
    layout: tuple[SlotRun, ...]
    """Stays the same from the first request to the last, whoever is stopped and whatever weights are applied."""


def experiment_spec(plan: Plan) -> ExperimentSpec:
    """The experiment that a comparison's plan describes."""
    if plan.ab is None:
        raise ValueError("the plan of a comparison must have a section ab")
    return plan.ab


def comparisons_of(rollouts: Iterable[Rollout], experiment: str | None) -> tuple[Rollout, ...]:
    """The comparisons of one experiment."""
    return tuple(each for each in rollouts if experiment is not None and each.requested.experiment == experiment)


def experiments(rollouts: Iterable[Rollout]) -> tuple[tuple[Rollout, ...], ...]:
    """The comparisons of every experiment, newest first."""
    return tuple(tuple(group) for group in reversed(_by_experiment(rollouts).values()))


def _by_experiment(rollouts: Iterable[Rollout]) -> dict[str, list[Rollout]]:
    groups: dict[str, list[Rollout]] = {}
    for rollout in rollouts:
        if rollout.requested.experiment is not None:
            groups.setdefault(rollout.requested.experiment, []).append(rollout)
    return groups


def counted_for(rollouts: Iterable[Rollout], name: str) -> Rollout | None:
    """The rollout that defines how requests are counted under a name, which is a rollout's or an experiment's."""
    named = [each for each in rollouts if name in (each.id, each.requested.experiment)]
    return min(named, key=lambda each: (each.id != name, each.id), default=None)


def layout(ab: ExperimentSpec) -> tuple[SlotRun, ...]:
    """The slots of each variation in the plan's order, after those that are held out."""
    kept, total = SLOTS - ab.holdout, sum(ab.variations.values())
    held_out = {UNCOUNTED: ab.holdout * total} if ab.holdout else {}
    return lay_out(held_out | {name: weight * kept for name, weight in ab.variations.items()})


def splits(rollouts: Iterable[Rollout], there: Iterable[Standing]) -> dict[tuple[str, str], Split]:
    """The experiments in force by (model, audience).

    An experiment is in force from when its last variation entered until the last one is out. A variation whose build
    is replaced is out at once; if the control's build is replaced, all are. If two experiments were requested at the
    same moment, the first one gets the audience.
    """
    serving = {(each.model, each.variation): each.stable for each in there}
    splits: dict[tuple[str, str], Split] = {}
    for name, group in _by_experiment(rollouts).items():
        split = _split(name, tuple(group), serving)
        if split is not None:
            splits.setdefault((split.model, split.audience), split)
    return splits


def _split(name: str, group: tuple[Rollout, ...], serving: Mapping[tuple[str, str], BuildRef]) -> Split | None:
    plan = group[0].plan
    ab, model = experiment_spec(plan), group[0].requested.model
    control = serving.get((model, plan.variation))
    if control is None or not has_begun(group):
        return None
    arms = {each.requested.variation: each for each in group if is_compared(each, control, serving.get(each.target))}
    if not arms:
        return None
    slots = layout(ab)
    weight = sum(part.slots for part in slots if part.variation == plan.variation)
    return Split(
        experiment=name, model=model, audience=ab.audience, control=control, control_variation=plan.variation,
        weight=weight, arms=arms, layout=slots,
    )  # fmt: skip


def has_begun(group: Sequence[Rollout]) -> bool:
    """Whether every comparison of the plan has entered, or ended before it could."""
    return is_whole(group) and all(each.step >= 0 or each.is_ended for each in group)


def is_whole(group: Sequence[Rollout]) -> bool:
    """Whether the ledger has every comparison of the plan."""
    return len(group) == len(experiment_spec(group[0].plan).variations) - 1


def is_compared(rollout: Rollout, control: BuildRef | None, serving: BuildRef | None) -> bool:
    """Whether the comparison is in progress and still compares the builds with which it began."""
    is_same = control is not None and control.version == rollout.stable and serving == rollout.candidate
    return is_same and rollout.is_under_way and rollout.weight > 0


@dataclass(frozen=True, kw_only=True)
class ExperimentState:
    """What a comparison must know about the others before it enters or ends."""

    may_enter: bool
    """Whether all comparisons are ready and the start time has come."""
    begins_in: timedelta | None
    """The time until it may begin; None once it may."""
    began_at: datetime | None
    """When the last variation was observed to be served. Before that, nobody is assigned to any variation."""
    is_concluded: bool
    """Whether one of the comparisons was concluded."""
    all_passed: bool
    """Whether every comparison that is not ended has reached the goal."""
    changed: str | None
    """Which variation no longer holds the compared build, in words."""


def experiment_state(rollout: Rollout, of_model: Sequence[Rollout], now: datetime) -> ExperimentState | None:
    """The state of a comparison's experiment; None for other rollouts. `of_model`: all rollouts of its model."""
    if not rollout.is_comparison:
        return None
    ab, group = experiment_spec(rollout.plan), comparisons_of(of_model, rollout.requested.experiment)
    serving = {(standing.model, standing.variation): standing.stable for standing in standings(of_model)}
    under_way = [each for each in group if not each.is_ended]
    early = ab.starts is not None and now < ab.starts
    return ExperimentState(
        may_enter=not early and is_whole(group) and all(each.is_under_way for each in under_way),
        begins_in=ab.starts - now if ab.starts is not None and early else None,
        began_at=_began_at(group),
        is_concluded=any(each.ending is Ending.CONCLUDED for each in group),
        all_passed=all(each.has_passed for each in under_way),
        changed=_changed(rollout, serving) if rollout.is_under_way else None,
    )


def _began_at(group: Sequence[Rollout]) -> datetime | None:
    if not has_begun(group):
        return None
    entered = [each for each in group if each.step >= 0]
    times = [each.step_observed_at or (each.ended_at if each.is_ended else None) for each in entered]
    observed = [at for at in times if at is not None]
    return max(observed) if observed and len(observed) == len(times) else None


def since_begun(rollout: Rollout, experiment: ExperimentState | None) -> Rollout:
    """The rollout; a comparison as if it had been served since its experiment began.

    Its own weight takes effect somewhat earlier than the weights of those that enter later, or much earlier if one of
    them is paused or frozen.
    """
    if experiment is None or experiment.began_at == rollout.step_observed_at:
        return rollout
    return replace(rollout, step_observed_at=experiment.began_at)


def refuse_in_experiment(of_model: Iterable[Rollout], plan: Plan) -> None:
    """Raise TargetBusy for a variation in a running experiment: it must keep its build, the control above all."""
    for each in of_model:
        if (
            each.is_comparison
            and not each.is_ended
            and plan.variation in (each.requested.variation, each.plan.variation)
        ):
            raise TargetBusy(
                f"{plan.model}/{plan.variation} takes part in experiment {each.requested.experiment}.",
                fix=f"wait for its end, or: sluice experiment end {each.requested.experiment}",
            )


def _changed(rollout: Rollout, serving: Mapping[tuple[str, str], BuildRef]) -> str | None:
    control = (rollout.requested.model, rollout.plan.variation)
    for target, version in ((control, rollout.stable), (rollout.target, rollout.requested.version)):
        stable = serving.get(target)
        if stable is None:
            return f"{target[1]} has no build any more"
        if stable.version != version:
            return f"the build of {target[1]} is v{stable.version} now, not v{version}"
    return None
