"""Withdrawal: how to record that a document is no longer in force, so that its history stays."""

from __future__ import annotations

from datetime import datetime

from sluicegate.registry.ledger.record import Applied

_DIGEST = "withdrawn"


def withdrawn(kind: str, name: str, actor: str, at: datetime) -> Applied:
    """The document that ends the ones before it."""
    return Applied(kind=kind, name=name, body={}, digest=_DIGEST, actor=actor, at=at)


def is_withdrawn(document: Applied) -> bool:
    """Whether this document ends the ones before it."""
    return document.digest == _DIGEST
