"""The freezes that are applied, as the ledger holds them."""

from __future__ import annotations

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.rollout.freeze import Freeze


def freezes(ledger: Ledger) -> tuple[Freeze, ...]:
    """Every applied freeze, by name."""
    return tuple(Freeze.model_validate(applied.body) for applied in ledger.all_applied("freeze"))
