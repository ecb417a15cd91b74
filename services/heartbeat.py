"""Heartbeat: a file that shows other programs whether a program's loops are running.

A beat sets the file's modification time to the clock of intervals. This needs no disk space, so it works on a full
disk, and changes of the wall clock do not affect it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SILENT = 20.0
"""Seconds without a beat after which a program is reported as silent."""


@dataclass(frozen=True, kw_only=True)
class Heartbeats:
    """The heartbeats of the programs of one state folder."""

    folder: Path
    elapsed: Callable[[], float] = time.monotonic

    def beat(self, program: str, ago: float = 0.0) -> None:
        """Record that a program is alive, or was `ago` seconds ago."""
        now = round((self.elapsed() - ago) * 1e9)
        path = self.folder / program
        try:
            os.utime(path, ns=(now, now))
        except OSError:
            with contextlib.suppress(OSError):
                self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                path.touch(mode=0o600)
                os.utime(path, ns=(now, now))

    def last(self, program: str) -> float | None:
        """The program's last beat on the clock of intervals; None if it has had none since this boot."""
        try:
            at = (self.folder / program).stat().st_mtime_ns / 1e9
        except OSError:
            return None
        return at if at <= self.elapsed() else None

    def silence(self, program: str) -> float | None:
        """Seconds since the last beat; None if there was none."""
        last = self.last(program)
        return None if last is None else self.elapsed() - last
