"""Guarding: what a protected variation serves, and which rollouts change that. Pure.

A variation serves builds to callers. Copies answer nobody, so who gets them is nothing that it serves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

from sluicegate.registry.audience.connections import Connections, StandIn, Weighted
from sluicegate.registry.orders.draft import Draft
from sluicegate.registry.orders.rules import reigning
from sluicegate.registry.rollout.experiment import experiment_spec
from sluicegate.registry.rollout.facts import AtOnce, Guarded
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.rollout.standing import Takeover


def disturbed(before: Connections, after: Connections) -> tuple[str, ...]:
    """The protected variations that would serve others than before, or on other terms."""
    return tuple(sorted(each for each in before.protected if _serves(before, each) != _serves(after, each)))


def is_guarded(rollout: Rollout, there: Connections, over: Sequence[Takeover]) -> bool:
    """Whether a rollout changes what a protected variation serves. `over`: the takeovers of its target.

    Copies change nothing, and the way back to a build that still is trusted is always open.
    """
    if rollout.is_shadow:
        return False
    if rollout.is_comparison:
        return bool(there.protected & _compared(rollout, there))
    if rollout.requested.strategy == AtOnce.ROLLBACK and rollout.requested.version in reigning(over)[:-1]:
        return False
    return rollout.requested.variation in there.protected


def guard_rollouts(draft: Draft, before: Connections, after: Connections, actor: str) -> None:
    """Tell the rollouts under way that what they change has become protected, or is no longer.

    The first build of an empty variation that is protected by the order that puts it there came before that.
    """
    if before.protected == after.protected:
        return
    for rollout in draft.current(after.model):
        is_first = rollout.requested.strategy == AtOnce.DEPLOY and draft.is_new(rollout.id)
        if rollout.took_over or rollout.is_ended or is_first:
            continue
        guarded = is_guarded(rollout, after, draft.takeovers(*rollout.target))
        if guarded != rollout.guarded:
            draft.append(
                rollout.id,
                Guarded(protected=guarded, actor=actor, reason="the protection of its variation was changed"),
            )


def _compared(rollout: Rollout, there: Connections) -> set[str]:
    """The variations whose callers an experiment divides again."""
    ab = experiment_spec(rollout.plan)
    shared = [each.weighted for each in there.ordered if each.audience.name == ab.audience] or [there.fallback]
    return {*ab.variations, *(part.variation for weighted in shared for part in weighted)}


def _serves(there: Connections, variation: str) -> object:
    """Which callers it answers, by the audiences up to the last that it has a share of, and on which terms."""
    groups = [(each.audience.condition, each.weighted) for each in there.ordered]
    callers = [(condition, _share(weighted, variation)) for condition, weighted in (*groups, (None, there.fallback))]
    while callers and not callers[-1][1]:
        callers.pop()
    return callers, there.terms_of(variation), _stand_ins(there, variation)


def _stand_ins(there: Connections, variation: str) -> tuple[object, ...]:
    """Which variations it stands in for, and which stand in for it."""
    is_fallback = there.fallback_variation == variation
    stood_in_for = (each for each in there.terms if is_fallback and each.stand_in is not StandIn.NEVER)
    is_stood_in_for = there.terms_of(variation).stand_in is not StandIn.NEVER
    names = tuple((each.variation, each.stand_in) for each in stood_in_for)
    return (names, there.fallback_variation if is_stood_in_for else None)


def _share(weighted: Iterable[Weighted], variation: str) -> Fraction:
    """Its share of an audience's requests."""
    weights = {part.variation: part.weight for part in weighted}
    total = sum(weights.values())
    return Fraction(weights.get(variation, 0), total) if total else Fraction(0)
