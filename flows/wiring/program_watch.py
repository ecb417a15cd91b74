"""Program watch: ends what hangs, so that it is started again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import structlog

from sluicegate.flows.wiring.loops import Loops
from sluicegate.flows.wiring.runtime import Runtime
from sluicegate.registry.words.errors import SluiceError
from sluicegate.services.host.programs.watching import PERIOD, Watch


def end_hanging(runtime: Runtime, loops: Loops, own: str) -> Callable[[threading.Event], None]:
    """The loop that ends what hangs: on a machine it watches the other programs; in a pod, where the kubelet checks the
    heartbeat, only this process's own loops."""
    return partial(_watch, runtime, own) if runtime.settings.cluster is None else loops.end_where_one_hangs


def _watch(runtime: Runtime, own: str, stop: threading.Event) -> None:
    """Restart those of our programs that hang, until stopped."""
    watching = Watch(own=own, supervisor=runtime.supervisor, beats=runtime.heartbeats)
    while not stop.wait(PERIOD):
        try:
            watching.look()
        except (SluiceError, OSError) as error:
            structlog.get_logger(own).warning("the others were not looked at; tried again", why=str(error))
