"""Watch: kills programs without a heartbeat, so that the supervisor restarts them. A hung program counts as dead."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import psutil
import structlog

from sluicegate.registry.words.program import Condition, ProgramState
from sluicegate.services.heartbeat import SILENT, Heartbeats
from sluicegate.services.host.programs.identity import read_record
from sluicegate.services.host.programs.supervising import Supervisor

log = structlog.get_logger("watch")

BEATING = ("keeper", "collector", "console")
"""Programs with a heartbeat. Each of them watches the others."""
PERIOD = 5.0
PATIENCE = 30.0
"""Seconds without a beat after which a program is killed, if it has had one since it started."""
STARTING = 240.0
"""Seconds that a program may take from its start to its first beat, since imports are slow on old machines."""


@dataclass(frozen=True, kw_only=True)
class Stillness:
    """How long a process has been observed to have no heartbeat."""

    process: psutil.Process
    last: float | None
    """Its last beat."""
    seconds: float = 0.0


@dataclass
class Watch:
    """Watches the other programs. Time in which the watcher itself did not look, as on a suspended machine, is not
    counted."""

    own: str
    supervisor: Supervisor
    beats: Heartbeats
    elapsed: Callable[[], float] = time.monotonic
    _still: dict[str, Stillness] = field(default_factory=dict, init=False)
    _looked: float | None = field(default=None, init=False)

    def look(self) -> tuple[str, ...]:
        """Kill programs that have had no heartbeat for too long; returns their names."""
        now = self.elapsed()
        watched = min(now - self._looked, 2 * PERIOD) if self._looked is not None else 0.0
        self._looked = now
        return tuple(name for name in BEATING if name != self.own and self._is_killed(name, watched))

    def _is_killed(self, name: str, watched: float) -> bool:
        record = read_record(self.supervisor.definitions.record(name))
        process = record.process() if record is not None else None
        if record is None or process is None:
            self._still.pop(name, None)
            return False
        last, stillness = self.beats.last(name), self._still.get(name)
        if stillness is None or (stillness.process, stillness.last) != (process, last):
            self._still[name] = Stillness(process=process, last=last)
            return False
        seconds = stillness.seconds + watched
        self._still[name] = Stillness(process=process, last=last, seconds=seconds)
        has_beaten = last is not None and last > record.began
        if seconds <= (PATIENCE if has_beaten else STARTING) or self.supervisor.pid() is None:
            return False
        log.error("has no heartbeat any more; it is killed and restarted", program=name, seconds=round(seconds))
        del self._still[name]
        process.kill()
        return True


def silent(beats: Heartbeats, states: Sequence[ProgramState], now: datetime) -> dict[str, float]:
    """Running programs without a heartbeat, with the seconds since the last one."""
    quiet = {}
    for state in states:
        if state.name not in BEATING or state.condition is not Condition.RUNNING:
            continue
        silence = beats.silence(state.name)
        lives = (now - state.since).total_seconds() if state.since else None
        times = [each for each in (silence, lives) if each is not None and each >= 0]
        if times and min(times) > SILENT:
            quiet[state.name] = min(times)
    return quiet
