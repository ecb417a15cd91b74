"""Overdue: weights that were ordered, and that the data plane was not seen to serve although it had the time."""

from __future__ import annotations

from datetime import datetime, timedelta

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.words.units import format_weight

PATIENCE = timedelta(seconds=10)


def overdue(ledger: Ledger, now: datetime) -> dict[str, str]:
    """What is not in force, by rollout."""
    behind = [rollout for rollout in ledger.current() if rollout.epoch != rollout.observed_epoch]
    late = {}
    for rollout in behind:
        age = now - ledger.entries(rollout.id, after=rollout.seq - 1)[-1].at
        if not timedelta(0) <= age < PATIENCE:
            weight = f"{format_weight(rollout.weight)} %"
            late[rollout.id] = f"{weight} for {rollout.candidate}, ordered {abs(age).total_seconds():.0f} s ago"
    return late
