"""The applied freezes in the ledger."""

from __future__ import annotations

from sluicegate.registry.ledger.record import Record
from sluicegate.registry.rollout.freeze import Freeze


def freezes(ledger: Record) -> tuple[Freeze, ...]:
    """Every applied freeze, by name."""
    return tuple(Freeze.model_validate(applied.body) for applied in ledger.all_applied("freeze"))
