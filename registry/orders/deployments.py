"""Applied deployments: documents that say which build a variation should serve. Pure.

A deployment leads to an order once, when it is new or changed. Applying it again unchanged does nothing, whatever
became of the rollout: a candidate that was taken back is not tried again because a file still names it.
"""

from __future__ import annotations

from sluicegate.registry.orders.draft import Draft
from sluicegate.registry.orders.order import ApplyDeployment, Deploy, Order, RollBack
from sluicegate.registry.orders.rules import is_older
from sluicegate.registry.orders.starting import Started, roll_back
from sluicegate.registry.orders.variations import deploy
from sluicegate.registry.rollout.standing import trusted


def apply_deployment(draft: Draft, order: Order, act: ApplyDeployment) -> Started | None:
    """Record the deployment, and return the rollout that it leads to; None if nothing changed.

    An earlier stable build that is older than the present one is brought back by a rollback.
    """
    if not draft.apply(act.document):
        return None
    of_target = draft.target(act.model, act.variation)
    stable = trusted(of_target)
    was_stable = any(each.version == act.version for each in draft.takeovers(act.model, act.variation))
    if stable is not None and was_stable and is_older(act.version, stable.requested.version):
        return roll_back(draft, order, RollBack(model=act.model, variation=act.variation, version=act.version))
    return deploy(draft, order, Deploy(model=act.model, variation=act.variation, version=act.version))
