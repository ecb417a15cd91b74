"""A ledger that rings the keeper after every append: an abort is on the wire in milliseconds, not in a second."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from sluicegate.registry.ledger.port import Applied, Fed, Lease, Ledger
from sluicegate.registry.rollout.facts import Entry, Fact, Requested
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.verdict import Look
from sluicegate.services.keeper.waking import ring


class RingingLedger:
    """Passes everything on; what may change routes rings: `open`, `append`, and documents such as connections."""

    def __init__(self, ledger: Ledger, bell: Path) -> None:
        self._ledger = ledger
        self._bell = bell

    def open(self, rollout: str, requested: Requested, at: datetime) -> Rollout:
        opened = self._ledger.open(rollout, requested, at)
        ring(self._bell)
        return opened

    def append(self, rollout: str, expected: int, fact: Fact, at: datetime) -> Rollout:
        after = self._ledger.append(rollout, expected, fact, at)
        ring(self._bell)
        return after

    def rollout(self, rollout: str) -> Rollout:
        return self._ledger.rollout(rollout)

    def rollouts(self, *, model: str | None = None) -> tuple[Rollout, ...]:
        return self._ledger.rollouts(model=model)

    def entries(self, rollout: str, *, after: int = -1) -> tuple[Entry, ...]:
        return self._ledger.entries(rollout, after=after)

    def feed(self, *, after: int = 0, limit: int = 500) -> tuple[Fed, ...]:
        return self._ledger.feed(after=after, limit=limit)

    def feed_end(self) -> int:
        return self._ledger.feed_end()

    def position(self) -> int:
        return self._ledger.position()

    def record_look(self, look: Look) -> Look:
        return self._ledger.record_look(look)

    def looks(self, rollout: str, metric: str | None = None) -> tuple[Look, ...]:
        return self._ledger.looks(rollout, metric)

    def last_looks(self, rollout: str) -> tuple[Look, ...]:
        return self._ledger.last_looks(rollout)

    def apply(self, document: Applied, *, over: str | None = None) -> bool:
        changed = self._ledger.apply(document, over=over)
        ring(self._bell)
        return changed

    def withdraw(self, kind: str, name: str, *, actor: str, at: datetime) -> bool:
        withdrawn = self._ledger.withdraw(kind, name, actor=actor, at=at)
        ring(self._bell)
        return withdrawn

    def applied(self, kind: str, name: str) -> Applied | None:
        return self._ledger.applied(kind, name)

    def all_applied(self, kind: str) -> Sequence[Applied]:
        return self._ledger.all_applied(kind)

    def take_lease(self, lease: Lease, now: datetime) -> bool:
        return self._ledger.take_lease(lease, now)

    def drop_lease(self, rollout: str, owner: str) -> None:
        self._ledger.drop_lease(rollout, owner)

    def leases(self) -> Sequence[Lease]:
        return self._ledger.leases()

    def remember(self, key: str, value: dict[str, object]) -> None:
        self._ledger.remember(key, value)

    def recall(self, key: str) -> dict[str, object] | None:
        return self._ledger.recall(key)
