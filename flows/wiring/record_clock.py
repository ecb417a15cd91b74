"""The clock that the record goes by. While a rollout is under way it is measured on, whatever the wall clock is set to.

Soaks, bakes and deadlines compare the times of facts, which several processes state. All of them add the time since
this boot, which nobody can set, to one beginning that lies in a file. Once no rollout is under way the keeper takes the
wall clock's time again. After another boot nothing but the wall clock is known.
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
"""What a wall clock may be corrected by before it counts as set."""


def since_boot() -> float:
    """Seconds since this boot, those that the machine slept included."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class RecordClock:
    """One state folder's. Where no stack has run, or boots have no names, there is no file: the wall clock is read."""

    def __init__(
        self, path: Path, wall: Callable[[], datetime], *,
        elapsed: Callable[[], float] = since_boot, boot: Callable[[], str] = boot_id,
    ) -> None:  # fmt: skip
        self._path, self._wall, self._elapsed, self._boot = path, wall, elapsed, boot

    def __call__(self) -> datetime:
        """The time."""
        began = self._began() or self._begin()
        return self._wall() if began is None else began + timedelta(seconds=self._elapsed())

    def ahead(self) -> timedelta:
        """How far the wall clock was set ahead of this one; negative where it was set back."""
        return self._wall() - self()

    def set_by_wall(self) -> None:
        """Go by the wall clock again: for when no rollout is under way."""
        if abs(self.ahead()) > APART:
            durable.replace(self._path, self._text())

    def _began(self) -> datetime | None:
        try:
            known = json.loads(self._path.read_text())
            return datetime.fromisoformat(known["began"]) if known["boot"] == (self._boot() or None) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _begin(self) -> datetime | None:
        """Begin by the wall clock; of several processes that do, all go by what stands there in the end."""
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
