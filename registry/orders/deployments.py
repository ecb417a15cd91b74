"""Applied deployments: which build a variation shall serve, as somebody wrote it down. Pure.

A deployment gives its order once, when it is new or changed. Applied again unchanged it gives none, whatever became of
the rollout: a candidate that was taken back is not tried again because a file still names it.
"""

from __future__ import annotations

from sluicegate.registry.orders.draft import Draft
from sluicegate.registry.orders.order import ApplyDeployment, Deploy, Order, RollBack
from sluicegate.registry.orders.rules import is_older
from sluicegate.registry.orders.starting import Started, roll_back
from sluicegate.registry.orders.variations import deploy
from sluicegate.registry.rollout.standing import trusted


def apply_deployment(draft: Draft, order: Order, act: ApplyDeployment) -> Started | None:
    """Record it; the rollout that it leads to, None where nothing changed.

    A build that was stable before and is older than the present one is gone back to, as a rollback does.
    """
    if not draft.apply(act.document):
        return None
    mine = draft.target(act.model, act.variation)
    stable = trusted(mine)
    was_stable = any(each.version == act.version for each in draft.takeovers(act.model, act.variation))
    if stable is not None and was_stable and is_older(act.version, stable.requested.version):
        return roll_back(draft, order, RollBack(model=act.model, variation=act.variation, version=act.version))
    return deploy(draft, order, Deploy(model=act.model, variation=act.variation, version=act.version))
