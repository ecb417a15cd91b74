"""A ledger that rings the keeper after every append: an abort is on the wire in milliseconds, not in a second.

Beside an SQLite file lies a reserve: on a full disk it gives way to what must be recorded. Whoever fills the disk may
be quicker; then the order is refused, and says so.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from sluicegate.registry.ledger.record import Applied, Changes, OrderKey, Receipt, Record
from sluicegate.registry.ledger.sql import SqlLedger
from sluicegate.registry.rollout.facts import Fact, Requested
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import Unreachable
from sluicegate.services.keeper.waking import ring

RESERVE = 4 << 20
"""Bytes: more than SQLite writes for an order, its log included."""
T = TypeVar("T")


def _free(path: Path) -> int:
    """Bytes that may be written beside this file."""
    there = os.statvfs(path.parent)
    return there.f_bavail * there.f_frsize


class RingingLedger(SqlLedger):
    """Rings after whatever may change routes: facts, and documents such as connections."""

    def __init__(self, url: str, bell: Path, reserve: Path | None = None) -> None:
        super().__init__(url)
        self._bell = bell
        self._reserve = reserve

    def open(self, rollout: str, requested: Requested, at: datetime) -> Rollout:
        opened = super().open(rollout, requested, at)
        ring(self._bell)
        return opened

    def append(self, rollout: str, expected: int, fact: Fact, at: datetime) -> Rollout:
        return self._ringing(lambda: SqlLedger.append(self, rollout, expected, fact, at))

    def commit(self, decide: Callable[[Record], Changes], key: OrderKey | None = None) -> Receipt:
        return self._ringing(lambda: SqlLedger.commit(self, decide, key))

    def _ringing(self, write: Callable[[], T]) -> T:
        """Write and ring. Where there is no space the reserve makes some, and it is written once more."""
        try:
            done = write()
        except Unreachable:
            if self._reserve is None or not self._reserve.exists() or _free(self._reserve) >= RESERVE:
                raise
            self._reserve.unlink(missing_ok=True)
            done = write()
        else:
            self._set_aside()
        ring(self._bell)
        return done

    def _set_aside(self) -> None:
        """Have a reserve where there is plenty of space."""
        if self._reserve is None or self._reserve.exists() or _free(self._reserve) < 4 * RESERVE:
            return
        with contextlib.suppress(OSError), self._reserve.open("xb") as file:
            os.posix_fallocate(file.fileno(), 0, RESERVE)

    def apply(self, document: Applied, *, over: str | None = None) -> bool:
        changed = super().apply(document, over=over)
        ring(self._bell)
        return changed

    def withdraw(self, kind: str, name: str, *, actor: str, at: datetime) -> bool:
        withdrawn = super().withdraw(kind, name, actor=actor, at=at)
        ring(self._bell)
        return withdrawn
