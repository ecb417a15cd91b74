"""Overdue: desired weights that the data plane has not been observed to serve in time."""

from __future__ import annotations

from datetime import datetime, timedelta

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.words.units import format_weight

PATIENCE = timedelta(seconds=10)


def overdue(ledger: Ledger, now: datetime) -> dict[str, str]:
    """A description of each weight that is not in force, by rollout."""
    late = {}
    for rollout in (each for each in ledger.current() if each.epoch != each.observed_epoch):
        age = now - rollout.epoch_began_at
        if not timedelta(0) <= age < PATIENCE:
            weight = f"{format_weight(rollout.weight)} %"
            late[rollout.id] = f"{weight} for {rollout.candidate}, ordered {abs(age).total_seconds():.0f} s ago"
    return late
