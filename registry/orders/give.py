"""Giving an order: decided and recorded in one transaction, wholly or not at all."""

from __future__ import annotations

from datetime import datetime

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.record import Applied, Receipt
from sluicegate.registry.orders.audience_store import KIND
from sluicegate.registry.orders.decide import decide
from sluicegate.registry.orders.order import ApplyAudience, Order
from sluicegate.registry.words.roles import Role


def give(ledger: Ledger, order: Order, now: datetime) -> Receipt:
    """Carry out an order; the same one sent again gives its first receipt.

    Raises Refused, NotFound, UsageError: then nothing was recorded.
    """
    return ledger.commit(lambda record: decide(record, order, now), order.known_by(now))


def apply_document(ledger: Ledger, document: Applied, role: Role) -> bool:
    """Record a document of any kind; False when nothing changed. An audience reaches every model that uses it."""
    if document.kind != KIND:
        return ledger.apply(document)
    order = Order(act=ApplyAudience(document=document), actor=document.actor, role=role, cause="documents")
    return give(ledger, order, document.at).changed
