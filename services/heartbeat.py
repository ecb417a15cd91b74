"""Heartbeat: a file by which other programs see that a program's loops still run.

A beat is the time of a file, set to the clock of intervals: it costs no space, so a full disk does not stop it, and no
wall clock that is set makes it look old or new.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SILENT = 20.0
"""Seconds without a beat after which a program is said to be silent."""


@dataclass(frozen=True, kw_only=True)
class Heartbeats:
    """The beats of one state folder's programs."""

    folder: Path
    elapsed: Callable[[], float] = time.monotonic

    def beat(self, program: str, ago: float = 0.0) -> None:
        """Say that a program is alive, or was so many seconds ago."""
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
        """When the program last said so, on the clock of intervals; None where it never did since this boot."""
        try:
            at = (self.folder / program).stat().st_mtime_ns / 1e9
        except OSError:
            return None
        return at if at <= self.elapsed() else None

    def silence(self, program: str) -> float | None:
        """Seconds since its last beat; None where there was none."""
        last = self.last(program)
        return None if last is None else self.elapsed() - last
