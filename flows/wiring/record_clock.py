"""The ledger's clock. While a rollout is open it runs on steadily, even if somebody sets the wall clock.

Soaks, bakes and deadlines compare the times of facts, which come from several processes. All of them add the time since
boot, which nobody can set, to a common start time in a file. Once no rollout is open, the keeper sets this clock by the
wall clock again. After a reboot only the wall clock is known.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sluicegate.services import durable
from sluicegate.services.host.programs.launch import boot_id

APART = timedelta(seconds=2)
"""The largest correction of the wall clock that does not count as setting it."""


def since_boot() -> float:
    """Seconds since boot, including time asleep."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class RecordClock:
    """The clock of one state folder. Uses the wall clock if no stack has run there, or if boots have no ids."""

    def __init__(
        self, path: Path, wall: Callable[[], datetime], *,
        elapsed: Callable[[], float] = since_boot, boot: Callable[[], str] = boot_id,
    ) -> None:  # fmt: skip
        self._path, self._wall, self._elapsed, self._boot = path, wall, elapsed, boot

    def __call__(self) -> datetime:
        """The present time."""
        began = self._began() or self._begin()
        return self._wall() if began is None else began + timedelta(seconds=self._elapsed())

    def ahead(self) -> timedelta:
        """How far the wall clock is ahead of this one; negative if it was set back."""
        return self._wall() - self()

    def set_by_wall(self) -> None:
        """Set this clock by the wall clock. Only for when no rollout is open."""
        if abs(self.ahead()) > APART:
            durable.replace(self._path, self._text())

    def _began(self) -> datetime | None:
        try:
            start = json.loads(self._path.read_text())
            return datetime.fromisoformat(start["began"]) if start["boot"] == (self._boot() or None) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _begin(self) -> datetime | None:
        """Start by the wall clock. If several processes do so at once, all use the start time written last."""
        if not self._boot() or not self._path.parent.exists():
            return None
        try:
            durable.replace(self._path, self._text())
        except OSError:
            return None
        return self._began()

    def _text(self) -> str:
        began = self._wall() - timedelta(seconds=self._elapsed())
        return json.dumps({"boot": self._boot(), "began": began.astimezone(UTC).isoformat()})
