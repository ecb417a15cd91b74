"""The order to run a build with another number of replicas. Adds to a draft or is refused. Pure."""

from __future__ import annotations

from sluicegate.registry.orders.draft import Draft
from sluicegate.registry.orders.order import Order, Scale
from sluicegate.registry.plan.fields import MOST_REPLICAS
from sluicegate.registry.rollout.facts import Scaled
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.rollout.standing import trusted
from sluicegate.registry.words.errors import NotFound, Refused, UsageError


def scale(draft: Draft, order: Order, act: Scale) -> Rollout:
    """Run the build that a variation trusts with this many replicas. A candidate in progress keeps those of its plan.

    The same number again records nothing. Raises NotFound for a variation without a build, Refused if an autoscaler
    decides.
    """
    if not 1 <= act.replicas <= MOST_REPLICAS:
        raise UsageError(f"{act.replicas} replicas: a build runs with 1 to {MOST_REPLICAS}.")
    stable = trusted(draft.target(act.model, act.variation))
    if stable is None:
        raise NotFound(f"{act.model}/{act.variation} holds no build.", fix=f"sluice variation list {act.model}")
    serving = _served_from(draft, stable)
    if (autoscaler := serving.serve.placement.autoscaler) is not None:
        raise Refused(
            f"the HorizontalPodAutoscaler {autoscaler} decides how many replicas {serving.candidate} has, by its plan.",
            fix="change the autoscaler's minimum, or remove serve: {placement: {autoscaler: …}} from the plan.",
        )
    if serving.serve.replicas == act.replicas:
        return serving
    fact = Scaled(replicas=act.replicas, actor=order.actor, party=order.party, reason=order.reason)
    return draft.append(serving.id, fact)


def _served_from(draft: Draft, trusted_rollout: Rollout) -> Rollout:
    """The rollout that determines how the build is served. A build in several variations follows its last rollout."""
    same = [
        each
        for each in draft.current(trusted_rollout.requested.model)
        if each.candidate == trusted_rollout.candidate and each.took_over and not each.undeployed
    ]
    return same[-1] if same else trusted_rollout
