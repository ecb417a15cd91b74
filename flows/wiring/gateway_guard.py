"""Guard: the process beside `sluice gateway` that runs its dead man's switch, as the gateway's own process may hang.

It kills that process where it is silent for long, so that systemd or a container starts it again; and it goes on where
that process was killed, until another one takes its place.
"""

from __future__ import annotations

import fcntl
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
from sluicegate.services.traffic.envoy.plane import Envoy
from sluicegate.services.traffic.mark import Mark
from sluicegate.services.traffic.switch import PERIOD, Switch

log = structlog.get_logger("guard")

HANGS = 30.0
"""Seconds without a heartbeat after which it is killed."""
KNOWN, _LOCK = "joined.json", "guard.pid"


@dataclass
class Guard:
    """Looks at one gateway, again and again."""

    folder: Path
    """Of the gateway: its Envoy's files, and what its console told it."""
    beats: Heartbeats
    agent: int
    """The process that it was started by."""
    limit: float
    """Seconds without a renewal after which stable alone answers, until its console's host says otherwise."""
    switch: Switch = field(init=False)
    _is_killed: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        envoy = Envoy(envoy_folder(self.folder), port=0)  # only its files are written here
        self.switch = Switch(name=NAME, plane=envoy, mark=mark(self.folder), limit=self.limit, counts_all=True)

    def look(self) -> None:
        """Put stable alone in force where nobody has renewed the routes, and end a gateway's process that hangs."""
        with suppress(OSError, ValueError, KeyError):  # as before
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
    """Where the files of a gateway's Envoy are."""
    return folder / "envoy"


def mark(folder: Path) -> Mark:
    """By which it is seen that the gateway serves stable builds alone."""
    return Mark(envoy_folder(folder), NAME, now)


def limit_in(folder: Path) -> float:
    """The limit that the console's host goes by, too."""
    return float(json.loads((folder / KNOWN).read_text(encoding="utf-8"))["unwatched"])


def start(folder: Path, beats: Heartbeats) -> subprocess.Popen[bytes]:
    """Start the guard of this process, in place of one that another process left. Who calls it is alive."""
    end_former(folder)
    beats.beat(NAME)
    command = (sys.executable, "-m", __name__, str(folder), str(beats.folder))
    return subprocess.Popen(command, start_new_session=True)  # what stops this process does not stop it


def end_former(folder: Path) -> None:
    """End the guard that holds the lock: who holds it has written its process there."""
    with (folder / _LOCK).open("a+") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                with suppress(ValueError, psutil.Error):  # not written yet; or gone by now
                    holder = psutil.Process(int(lock.read()))
                    if str(folder) in holder.cmdline():
                        holder.kill()
                time.sleep(0.05)
            else:
                return


def main(folder: Path, beats: Path) -> None:
    """Guard the gateway that started this process, until this one is ended."""
    log_plainly()
    with (folder / _LOCK).open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        guard = Guard(folder=folder, beats=Heartbeats(folder=beats), agent=os.getppid(), limit=limit_in(folder))
        while folder.exists():  # nobody is there any more to end a guard whose gateway was deleted
            guard.look()
            time.sleep(PERIOD)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
