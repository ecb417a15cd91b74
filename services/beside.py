"""Beside: background work. Each kind has a thread of its own, so that work that hangs delays nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from sluicegate.registry.words.errors import SluiceError

log = structlog.get_logger("beside")

SLOW = 60.0
"""Seconds after which unfinished work is reported as hanging."""

Hand = Callable[[str, Callable[[], None]], None]
"""Runs work of a kind: `Beside` in the background, `at_once` before it returns."""


def at_once(kind: str, work: Callable[[], None]) -> None:
    """Do the work and wait for it; for tests and callers that look once."""
    del kind
    work()


@dataclass
class Beside:
    """Runs work in threads. While work of a kind is running, calls with that kind do nothing; the next look tries
    again."""

    elapsed: Callable[[], float] = time.monotonic
    _since: dict[str, float] = field(default_factory=dict, init=False)
    _slow: set[str] = field(default_factory=set, init=False)
    _why: dict[str, str] = field(default_factory=dict, init=False)
    """The last failure of each kind, so that the same one is logged only once."""

    def __call__(self, kind: str, work: Callable[[], None]) -> None:
        since = self._since.get(kind)
        if since is not None:
            self._complain(kind, self.elapsed() - since)
            return
        self._since[kind] = self.elapsed()
        try:
            threading.Thread(target=self._do, args=(kind, work), name=kind, daemon=True).start()
        except RuntimeError as error:  # no thread can be started now
            del self._since[kind]
            log.error("not begun; tried again", kind=kind, why=str(error))

    def longest(self, kind: str) -> float:
        """Seconds that work of this kind has been running; 0 if none is."""
        since = self._since.get(kind)
        return 0.0 if since is None else self.elapsed() - since

    def _do(self, kind: str, work: Callable[[], None]) -> None:
        try:
            work()
            self._why.pop(kind, None)
        except SluiceError as error:
            if self._why.get(kind) != str(error):
                self._why[kind] = str(error)
                log.warning("could not be done; tried again", kind=kind, why=str(error))
        except Exception:
            log.exception("failed; the next look starts afresh", kind=kind)
        finally:
            self._slow.discard(kind)
            del self._since[kind]

    def _complain(self, kind: str, seconds: float) -> None:
        if seconds > SLOW and kind not in self._slow:
            self._slow.add(kind)
            log.warning("has not ended for a long time; nothing else waits for it", kind=kind, seconds=round(seconds))
