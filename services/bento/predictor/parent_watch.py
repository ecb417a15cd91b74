"""Workers that end with their parent. BentoML runs each in a session of its own, so a killed parent leaves them."""

from __future__ import annotations

import os
import signal
import threading
import time

_PARENT = "BENTO_PARENT_PID"
_POLL_SECONDS = 0.5
_GRACE_SECONDS = 10.0


def remember_parent() -> None:
    """Note, in the first process that loads the service, who the parent of later ones is."""
    os.environ.setdefault(_PARENT, str(os.getpid()))


def end_with_parent() -> None:
    """In a worker, watch for the parent's end: then answer what is in flight, and end. Elsewhere do nothing."""
    parent = int(os.environ.get(_PARENT, os.getpid()))
    if parent != os.getpid():
        threading.Thread(target=_watch, args=(parent,), name="parent-watch", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    os._exit(1)
