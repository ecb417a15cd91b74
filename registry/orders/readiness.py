"""Orders of people that send a candidate more callers need a ready service there, unless they waive that. Pure."""

from __future__ import annotations

from dataclasses import replace

from sluicegate.registry.orders.draft import Draft
from sluicegate.registry.orders.order import Jump, Order, Promote
from sluicegate.registry.rollout.depending import unready_candidate
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import Refused


def must_be_ready(draft: Draft, order: Order, rollout: Rollout, act: Promote | Jump) -> Order:
    """The order; if it waives a ready service of the candidate, its reason says so. Raises Refused if it does not."""
    why = unready_candidate(rollout, draft.readiness, draft.now)
    if why is None:
        return order
    if act.although_not_ready:
        return replace(order, reason=f"{order.reason} (given although {why})")
    verb = "promote" if isinstance(act, Promote) else "jump"
    words = rollout.id if isinstance(act, Promote) else f"{rollout.id} --to-step {act.step + 1}"
    raise Refused(
        f"rollout {rollout.id}: {why}. Callers who are sent there now get errors or the stable build.",
        fix=f"wait until it is ready: sluice rollout show {rollout.id} --watch; or do it all the same: "
        f"sluice rollout {verb} {words} --although-not-ready --reason WHY",
    )
