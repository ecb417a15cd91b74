"""Guarding: what a protected variation serves, and which rollouts change that. Pure.

A variation serves builds to callers. Copies answer nobody, so they do not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

from sluicegate.registry.audience.connections import Connections, StandIn, Weighted
from sluicegate.registry.orders.draft import Draft
from sluicegate.registry.orders.rules import trusted_versions
from sluicegate.registry.rollout.experiment import experiment_spec
from sluicegate.registry.rollout.facts import AtOnce, Guarded
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.rollout.standing import Takeover


def disturbed(before: Connections, after: Connections) -> tuple[str, ...]:
    """The protected variations that would serve other callers than before, or on other terms."""
    return tuple(sorted(each for each in before.protected if _serves(before, each) != _serves(after, each)))


def is_guarded(rollout: Rollout, connections: Connections, over: Sequence[Takeover]) -> bool:
    """Whether a rollout changes what a protected variation serves. `over`: the takeovers of its target.

    Copies change nothing, and returning to a build that is still trusted is always allowed.
    """
    if rollout.is_shadow:
        return False
    if rollout.is_comparison:
        return bool(connections.protected & _compared(rollout, connections))
    if rollout.requested.strategy == AtOnce.ROLLBACK and rollout.requested.version in trusted_versions(over)[:-1]:
        return False
    return rollout.requested.variation in connections.protected


def guard_rollouts(draft: Draft, before: Connections, after: Connections, actor: str) -> None:
    """Add a fact to rollouts in progress if what they change became protected, or no longer is.

    Skips the first build of an empty variation whose own order protects the variation.
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


def _compared(rollout: Rollout, connections: Connections) -> set[str]:
    """The variations whose callers an experiment redistributes."""
    ab = experiment_spec(rollout.plan)
    shared = [each.weighted for each in connections.ordered if each.audience.name == ab.audience] or [
        connections.fallback
    ]
    return {*ab.variations, *(part.variation for weighted in shared for part in weighted)}


def _serves(connections: Connections, variation: str) -> object:
    """Which callers the variation answers, up to the last audience of which it has a share, and on which terms."""
    groups = [(each.audience.condition, each.weighted) for each in connections.ordered]
    callers = [
        (condition, _share(weighted, variation)) for condition, weighted in (*groups, (None, connections.fallback))
    ]
    while callers and not callers[-1][1]:
        callers.pop()
    return callers, connections.terms_of(variation), _stand_ins(connections, variation)


def _stand_ins(connections: Connections, variation: str) -> tuple[object, ...]:
    """Which variations it stands in for, and which one stands in for it."""
    is_fallback = connections.fallback_variation == variation
    stood_in_for = (each for each in connections.terms if is_fallback and each.stand_in is not StandIn.NEVER)
    is_stood_in_for = connections.terms_of(variation).stand_in is not StandIn.NEVER
    names = tuple((each.variation, each.stand_in) for each in stood_in_for)
    return (names, connections.fallback_variation if is_stood_in_for else None)


def _share(weighted: Iterable[Weighted], variation: str) -> Fraction:
    """The variation's share of an audience's requests."""
    weights = {part.variation: part.weight for part in weighted}
    total = sum(weights.values())
    return Fraction(weights.get(variation, 0), total) if total else Fraction(0)
