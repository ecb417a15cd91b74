"""Successor: an Envoy that nobody supervises is followed by another one where what it read at its start has changed."""

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
    """Note by what an Envoy is started, which does not run yet."""
    durable.replace(envoy.places.folder / _RUNS, envoy.runs(), mode=durable.PRIVATE)


def is_changed(envoy: Envoy) -> bool:
    """Whether the one that runs was started by something else than what stands in its files now."""
    with suppress(OSError):
        return (envoy.places.folder / _RUNS).read_text(encoding="utf-8") != envoy.runs()
    return True


def follow(envoy: Envoy) -> subprocess.Popen[bytes]:
    """Have another Envoy take over from the one that runs. No request is refused; the former one ends.

    Raises TimedOut where the new one does not serve; all is as before then.
    """
    former, handover = _processes(envoy), envoy.handover()
    handover.step_aside()
    process = subprocess.Popen(envoy.command(), start_new_session=True)
    until = time.monotonic() + _START_SECONDS
    while not handover.is_ready():
        if process.poll() is not None or time.monotonic() > until:
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
    """Those of ours that were started by these files."""
    bootstrap, found = str(envoy.places.folder / BOOTSTRAP_FILE), []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if bootstrap in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
