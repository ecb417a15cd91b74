"""A ledger that rings the keeper after every append: an abort is on the wire in milliseconds, not in a second."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sluicegate.registry.ledger.record import Applied, Changes, OrderKey, Receipt, Record
from sluicegate.registry.ledger.sql import SqlLedger
from sluicegate.registry.rollout.facts import Fact, Requested
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.services.keeper.waking import ring


class RingingLedger(SqlLedger):
    """Rings after whatever may change routes: facts, and documents such as connections."""

    def __init__(self, url: str, bell: Path) -> None:
        super().__init__(url)
        self._bell = bell

    def open(self, rollout: str, requested: Requested, at: datetime) -> Rollout:
        opened = super().open(rollout, requested, at)
        ring(self._bell)
        return opened

    def append(self, rollout: str, expected: int, fact: Fact, at: datetime) -> Rollout:
        after = super().append(rollout, expected, fact, at)
        ring(self._bell)
        return after

    def commit(self, decide: Callable[[Record], Changes], key: OrderKey | None = None) -> Receipt:
        receipt = super().commit(decide, key)
        ring(self._bell)
        return receipt

    def apply(self, document: Applied, *, over: str | None = None) -> bool:
        changed = super().apply(document, over=over)
        ring(self._bell)
        return changed

    def withdraw(self, kind: str, name: str, *, actor: str, at: datetime) -> bool:
        withdrawn = super().withdraw(kind, name, actor=actor, at=at)
        ring(self._bell)
        return withdrawn
