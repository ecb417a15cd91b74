"""Connecting: records which audience of a model gets which variation, as every order that changes it does."""

from __future__ import annotations

from sluicegate.registry.audience.connections import FALLBACK, Connections, settled
from sluicegate.registry.audience.rules import faults
from sluicegate.registry.ledger.record import Applied
from sluicegate.registry.orders.connections_record import KIND, connections_of, digest, document
from sluicegate.registry.orders.draft import Draft
from sluicegate.registry.orders.guarding import guard_rollouts
from sluicegate.registry.words.errors import UsageError


def record_connections(draft: Draft, wanted: Connections, actor: str) -> bool:
    """Record who gets what from now on, moving as few units as possible. Returns False if nothing changes.

    Rollouts in progress get a fact if what they change became protected or no longer is.

    Raises UsageError for connections that the data plane would refuse, which would block every model's changes.
    """
    _refuse(wanted)
    before = connections_of(draft, wanted.model)
    after = settled(wanted, before)
    applied = Applied(
        kind=KIND, name=wanted.model, body=document(after), digest=digest(after), actor=actor, at=draft.now
    )  # fmt: skip
    guard_rollouts(draft, before or Connections(model=wanted.model), after, actor)
    return draft.apply(applied)


def _refuse(wanted: Connections) -> None:
    names = [each.audience.name for each in wanted.ordered]
    twice = sorted({name for name in names if names.count(name) > 1 or name == FALLBACK})
    if twice:
        raise UsageError(
            f"{wanted.model}: audience {', '.join(twice)} is named twice, or is {FALLBACK}, the fallback's name."
        )
    wrong = [(each.audience.name, fault) for each in wanted.ordered for fault in faults(each.audience.condition)]
    if wrong:
        raise UsageError("; ".join(f"audience {name}: {fault}" for name, fault in wrong))
