"""Giving an order: decides and records it in one transaction, completely or not at all."""

from __future__ import annotations

from datetime import datetime

from sluicegate.registry.ledger.keeper_notes import readiness
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.record import Applied, Receipt
from sluicegate.registry.orders.audience_store import KIND
from sluicegate.registry.orders.certified_plans import POLICY
from sluicegate.registry.orders.decide import decide
from sluicegate.registry.orders.order import ApplyAudience, DeleteAudience, Order
from sluicegate.registry.orders.proposals import OPEN, Proposal, find_proposal
from sluicegate.registry.words.errors import AwaitsApproval, Forbidden
from sluicegate.registry.words.roles import Role


def give(ledger: Ledger, order: Order, now: datetime) -> Receipt:
    """Carry out an order. If the same one is sent again, returns its first receipt.

    Raises Refused, NotFound or UsageError; then nothing was recorded. Raises AwaitsApproval if the order changes what a
    protected variation serves and was recorded as a proposal.
    """
    ready = readiness(ledger)
    receipt = ledger.commit(lambda record: decide(record, order, now, ready), order.known_by(now))
    if receipt.proposal is not None:
        _raise_awaits(find_proposal(ledger, receipt.proposal))
    return receipt


def _raise_awaits(proposal: Proposal) -> None:
    """Raise AwaitsApproval for an order that is kept as a proposal."""
    if proposal.state != OPEN:  # the same order was sent again, and its proposal was closed meanwhile
        return
    asker = proposal.people[0].actor if proposal.people else f"{proposal.order.actor}, which is no named person,"
    who = "somebody else" if proposal.people else "two named people"
    raise AwaitsApproval(
        f"{', '.join(proposal.targets)} is protected, and this changes what it serves. {asker} asked for it, and it is "
        f"kept as proposal {proposal.name}: nothing has changed yet.",
        fix=f"{who} with the role approver and a token of their own must run: sluice proposal approve {proposal.name}",
    )


def apply_document(ledger: Ledger, document: Applied, role: Role, person: str | None = None) -> bool:
    """Record a document of any kind. Returns False if nothing changed. An audience reaches every model that uses it."""
    if document.kind == POLICY:
        _need_admin(document.actor, role)
    if document.kind != KIND:
        return ledger.apply(document)
    order = Order(
        act=ApplyAudience(document=document), actor=document.actor, role=role, person=person, cause="documents"
    )  # fmt: skip
    return give(ledger, order, document.at).changed


def withdraw_document(ledger: Ledger, kind: str, name: str, actor: str, role: Role, now: datetime) -> bool:
    """Withdraw a document of any kind. Returns False if there is none. Raises Refused for an audience in use."""
    if kind == POLICY:
        _need_admin(actor, role)
    if kind != KIND:
        return ledger.withdraw(kind, name, actor=actor, at=now)
    if ledger.applied(kind, name) is None:
        return False
    order = Order(act=DeleteAudience(name=name), actor=actor, role=role, cause="documents")
    return give(ledger, order, now).changed


def _need_admin(actor: str, role: Role) -> None:
    """Raise Forbidden unless the actor may set rules for every plan."""
    if not role.may(Role.ADMIN):
        raise Forbidden(
            f"only an {Role.ADMIN.title} may change a policy; {actor} has the role {role.title}.",
            fix=f"ask somebody with the role {Role.ADMIN.title} to apply or withdraw it",
        )
