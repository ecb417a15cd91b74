"""A ledger that wakes the keeper after every append, so that an abort takes effect in milliseconds, not in a second.

It also reserves space inside an SQLite ledger's log, so that it can record an abort even on a full disk.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from sluicegate.registry.ledger.engine import log_file
from sluicegate.registry.ledger.record import Applied, Changes, OrderKey, Receipt, Record
from sluicegate.registry.ledger.sql import SqlLedger
from sluicegate.registry.rollout.facts import Fact, Requested
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.services import durable
from sluicegate.services.keeper.waking import ring

RESERVE = 8 << 20
"""Bytes of the log that are reserved in advance. SQLite starts a new log after half of that."""
T = TypeVar("T")


class RingingLedger(SqlLedger):
    """Wakes the keeper after every change that may affect routes: facts, and documents such as connections."""

    def __init__(self, url: str, bell: Path) -> None:
        super().__init__(url)
        self._bell = bell
        self._log = log_file(url)
        self._set_aside()

    def open(self, rollout: str, requested: Requested, at: datetime) -> Rollout:
        opened = super().open(rollout, requested, at)
        ring(self._bell)
        return opened

    def append(self, rollout: str, expected: int, fact: Fact, at: datetime) -> Rollout:
        return self._ringing(lambda: SqlLedger.append(self, rollout, expected, fact, at))

    def commit(self, decide: Callable[[Record], Changes], key: OrderKey | None = None) -> Receipt:
        return self._ringing(lambda: SqlLedger.commit(self, decide, key))

    def _ringing(self, write: Callable[[], T]) -> T:
        done = write()
        self._set_aside()
        ring(self._bell)
        return done

    def _set_aside(self) -> None:
        """Reserve the space. Repeated, because SQLite starts a log without it once all connections have closed."""
        if self._log is not None:
            with contextlib.suppress(OSError):
                durable.set_aside(self._log, RESERVE)

    def apply(self, document: Applied, *, over: str | None = None) -> bool:
        changed = super().apply(document, over=over)
        ring(self._bell)
        return changed

    def withdraw(self, kind: str, name: str, *, actor: str, at: datetime) -> bool:
        withdrawn = super().withdraw(kind, name, actor=actor, at=at)
        ring(self._bell)
        return withdrawn
