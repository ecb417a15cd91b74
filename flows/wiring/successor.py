"""Successor: replaces an unsupervised Envoy when something that it reads only at its start has changed."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

from sluicegate.registry.words.errors import TimedOut
from sluicegate.services import durable
from sluicegate.services.traffic.envoy.names import BOOTSTRAP_FILE

if TYPE_CHECKING:
    from sluicegate.services.traffic.envoy.plane import Envoy

_RUNS = "runs"
_START_SECONDS, _END_SECONDS = 20.0, 15.0


def note_started(envoy: Envoy) -> None:
    """Note what an Envoy that is about to start will read."""
    durable.replace(envoy.places.folder / _RUNS, envoy.runs(), mode=durable.PRIVATE)


def is_changed(envoy: Envoy) -> bool:
    """Whether its files have changed since the running Envoy was started."""
    with suppress(OSError):
        return (envoy.places.folder / _RUNS).read_text(encoding="utf-8") != envoy.runs()
    return True


def follow(envoy: Envoy) -> subprocess.Popen[bytes]:
    """Start another Envoy that takes over from the running one, which then ends. No request is refused.

    Raises TimedOut if the new one does not serve; then everything is as before.
    """
    former, handover = _processes(envoy), envoy.handover()
    handover.step_aside()
    process = subprocess.Popen(envoy.command(), start_new_session=True)
    deadline = time.monotonic() + _START_SECONDS
    while not handover.is_ready():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            handover.step_back()
            raise TimedOut("a new Envoy does not serve; the former one keeps running.", fix="read envoy.log beside it.")
        time.sleep(0.05)
    handover.drain([each.pid for each in former], process.pid)
    for each in former:
        with suppress(psutil.NoSuchProcess):
            each.terminate()
    _, left = psutil.wait_procs(former, timeout=_END_SECONDS)
    for each in left:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    handover.done()
    note_started(envoy)
    return process


def _processes(envoy: Envoy) -> list[psutil.Process]:
    """The running processes of this Envoy, found by its bootstrap file."""
    bootstrap, processes = str(envoy.places.folder / BOOTSTRAP_FILE), []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if bootstrap in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                processes.append(process)
    return processes
