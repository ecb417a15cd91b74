"""Identity: everybody who starts a run in Prefect acts as `prefect`, with the role that an admin gave it.

Prefect has one password and does not say who started a run. The name in a form is only a claim: `prefect:NAME`.
"""

from __future__ import annotations

from prefect.runtime import flow_run

from sluicegate.flows.driver.showing import show
from sluicegate.flows.wiring.runtime import Runtime
from sluicegate.registry.ledger.calls import Call
from sluicegate.registry.orders.authority import PREFECT, role_of_prefect
from sluicegate.registry.orders.give import give
from sluicegate.registry.orders.order import Act, Order
from sluicegate.registry.rollout.facts import Party
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import Forbidden

_FIX = "give the order with a token of that role; or ask an admin to allow it in Prefect: sluice token prefect approver"


def order_as_prefect(
    runtime: Runtime, act: Act, *, who: str, why: str = "no reason given", party: Party = Party.PERSON
) -> Rollout:
    """Give an order and return its rollout. However often Prefect starts the run, the order is given once.

    Raises Forbidden if Prefect's role does not allow it, and records the attempt with the refused calls of the API.
    """
    actor = PREFECT if who == PREFECT else f"{PREFECT}:{who}"
    role = role_of_prefect(runtime.ledger)
    order = Order(act=act, actor=actor, role=role, party=party, cause=PREFECT, reason=why, key=flow_run.get_id())
    try:
        receipt = give(runtime.ledger, order, runtime.clock())
    except Forbidden as refused:
        show(lambda: _record(runtime, order))
        raise Forbidden(refused.message, fix=_FIX) from None
    return runtime.ledger.rollout(receipt.rollout or "")


def _record(runtime: Runtime, order: Order) -> None:
    path = flow_run.get_name() or type(order.act).__name__
    call = Call(
        at=runtime.clock(), actor=order.actor, role=order.role.title, method="RUN", path=path, digest=""
    )  # fmt: skip
    kept, _ = runtime.calls.begin(call)
    runtime.calls.finish(kept.number, 403, "null")
