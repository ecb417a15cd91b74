"""Guard: the process beside `sluice gateway` that runs its dead man's switch, since the gateway's own process may hang.

It kills a gateway process that is silent for too long, so that systemd or a container starts it again. It survives that
process, until another guard takes its place.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import structlog

from sluicegate.flows.wiring.agent import NAME
from sluicegate.flows.wiring.loops import log_plainly
from sluicegate.flows.wiring.runtime import now
from sluicegate.services.heartbeat import Heartbeats
from sluicegate.services.locking import try_lock
from sluicegate.services.traffic.envoy.plane import Envoy
from sluicegate.services.traffic.mark import Mark
from sluicegate.services.traffic.switch import PERIOD, Switch

log = structlog.get_logger("guard")

HANGS = 30.0
"""Seconds without a heartbeat after which the gateway's process is killed."""
KNOWN, _LOCK = "joined.json", "guard.pid"
_LOCK_POLL = 0.05


@dataclass
class Guard:
    """Guards one gateway."""

    folder: Path
    """The gateway's folder, with its Envoy's files and what its console told it."""
    beats: Heartbeats
    agent: int
    """The pid of the gateway's process, which started this one."""
    limit: float
    """Seconds without a renewal after which only stable builds answer, until the console's host sets another limit."""
    switch: Switch = field(init=False)
    _is_killed: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        envoy = Envoy(envoy_folder(self.folder), port=0)  # only its files are written here
        self.switch = Switch(name=NAME, plane=envoy, mark=mark(self.folder), limit=self.limit, counts_all=True)

    def look(self) -> None:
        """Switch to stable builds only if nobody has renewed the routes, and kill the gateway's process if it hangs."""
        with suppress(OSError, ValueError, KeyError):  # keeps the former limit
            self.switch.limit = limit_in(self.folder)
        self.switch.look()
        silence = self.beats.silence(NAME)
        if self._is_killed or os.getppid() != self.agent or silence is None or silence <= HANGS:
            return
        log.error("the gateway's process hangs; it is killed, to be started again", silent=round(silence))
        with suppress(ProcessLookupError):
            os.kill(self.agent, signal.SIGKILL)
        self._is_killed = True


def envoy_folder(folder: Path) -> Path:
    """The folder of a gateway's Envoy."""
    return folder / "envoy"


def mark(folder: Path) -> Mark:
    """The mark that shows that the gateway serves stable builds only."""
    return Mark(envoy_folder(folder), NAME, now)


def limit_in(folder: Path) -> float:
    """The limit that the console's host relies on, from the gateway's file."""
    return float(json.loads((folder / KNOWN).read_text(encoding="utf-8"))["unwatched"])


def start(folder: Path, beats: Heartbeats) -> subprocess.Popen[bytes]:
    """Start this process's guard, replacing one that another process left. Beats once: the caller is alive."""
    end_former(folder)
    beats.beat(NAME)
    command = (sys.executable, "-m", __name__, str(folder), str(beats.folder))
    return subprocess.Popen(command, start_new_session=True)  # signals to this process do not reach it


def end_former(folder: Path) -> None:
    """Kill the guard that holds the lock; its pid is in the lock file."""
    with (folder / _LOCK).open("a+") as lock:
        while not try_lock(lock.fileno()):
            lock.seek(0)
            with suppress(ValueError, psutil.Error):  # the pid is not written yet, or the process is gone
                holder = psutil.Process(int(lock.read()))
                if str(folder) in holder.cmdline():
                    holder.kill()
            time.sleep(_LOCK_POLL)


def main(folder: Path, beats: Path) -> None:
    """Guard the gateway that started this process, until this process is killed."""
    log_plainly()
    with (folder / _LOCK).open("a+") as lock:
        while not try_lock(lock.fileno()):
            time.sleep(_LOCK_POLL)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        guard = Guard(folder=folder, beats=Heartbeats(folder=beats), agent=os.getppid(), limit=limit_in(folder))
        while folder.exists():  # if the gateway was deleted, nobody ends its guard
            guard.look()
            time.sleep(PERIOD)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
