"""Authority: which role an order needs, through whichever door it comes. Pure.

A rollout is judged while it moves traffic. Moving traffic without being judged needs an approver.
"""

from __future__ import annotations

from sluicegate.registry.audience.connections import Connections
from sluicegate.registry.ledger.record import Record
from sluicegate.registry.orders.order import Approve, ApproveProposal, Jump, Order, OverrideFreeze, Promote
from sluicegate.registry.rollout.facts import Party
from sluicegate.registry.words.errors import Forbidden
from sluicegate.registry.words.roles import Role

ROLE, PREFECT = "role", "prefect"
"""Kind and name of the document that defines the role of runs started in Prefect."""
_BY_ROLE = (Party.PERSON, Party.PREFECT)
"""Parties whose role is checked. Orders of all other parties follow from an applied plan."""


def role_of_prefect(record: Record) -> Role:
    """The role of anybody who starts a run in Prefect, which reveals no names. Operator unless an admin changed it."""
    document = record.applied(ROLE, PREFECT)
    return Role.OPERATOR if document is None else Role[str(document.body["role"]).upper()]


def refuse_beyond_role(order: Order) -> None:
    """Raise Forbidden if the actor's role does not allow the act."""
    match order.act:
        case OverrideFreeze():
            need(order, Role.ADMIN, "to override a freeze")
        case Approve():
            need(order, Role.APPROVER, "to approve a step")
        case ApproveProposal():
            need(order, Role.APPROVER, "to approve what somebody else asked for")
        case Jump():
            need(order, Role.APPROVER, "to jump to another step")
        case Promote():
            need(order, Role.APPROVER, "to promote")
        case _:
            need(order, Role.OPERATOR, "to give an order")
    if order.override_freeze is not None:
        need(order, Role.ADMIN, "to override a freeze")
    if order.override_assessment is not None:
        need(order, Role.APPROVER, "to override the checks that the plan makes before the first request")


def refuse_unjudged(order: Order, present: Connections, wanted: Connections) -> None:
    """Raise Forbidden if other variations would answer callers than now and the actor is no approver."""
    if _answered(present) != _answered(wanted):
        need(order, Role.APPROVER, f"to change who is answered by which variation of {wanted.model}")


def need(order: Order, role: Role, what: str) -> None:
    """Raise Forbidden if the actor's role does not include this one."""
    if order.party in _BY_ROLE and not order.role.may(role):
        raise Forbidden(
            f"{what} needs the role {role.title}; {order.actor} has the role {order.role.title}.",
            fix=f"ask somebody with the role {role.title}, or start a rollout: its gates decide before traffic moves",
        )


def _answered(connections: Connections) -> object:
    """Which variations answer which audiences, in order, with their weights. Copies answer nobody."""
    ordered = [(each.audience, each.weighted) for each in connections.ordered]
    return [
        (audience, {part.variation: part.weight for part in weighted if part.weight})
        for audience, weighted in (*ordered, (None, connections.fallback))
    ]
