"""Ends workers after their parent. BentoML runs each worker in its own session, so they outlive a killed parent.

A worker that callers still reach stays until a new service has taken over its socket, so that no caller is refused
while the new one loads its model. But it does not stay for ever, because nobody restarts it if it hangs.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

_PARENT = "BENTO_PARENT_PID"
_SOCKET, _SOCKET_FILE = "BENTO_SOCKET", "BENTO_SOCKET_FILE"
_POLL_SECONDS = 0.5
_LINGER_SECONDS = 1.0
"""Time in which callers that connected before the takeover are still accepted and answered."""
_LONGEST_SECONDS = 600.0
_GRACE_SECONDS = 10.0


def remember_parent() -> None:
    """Note the parent of later processes, in the first process that loads the service."""
    os.environ.setdefault(_PARENT, str(os.getpid()))


def end_with_parent() -> None:
    """In a worker, watch for the parent's end; then answer remaining callers and open requests, and end.

    In other processes, do nothing.
    """
    parent = int(os.environ.get(_PARENT, os.getpid()))
    if parent != os.getpid():
        threading.Thread(target=_watch, args=(parent,), name="parent-watch", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    orphaned = time.monotonic()
    while _is_reachable() and time.monotonic() - orphaned < _LONGEST_SECONDS:
        time.sleep(_POLL_SECONDS)
    time.sleep(_LINGER_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    os._exit(1)


def _is_reachable() -> bool:
    """Whether callers still reach this worker, because its socket is still at the service's path."""
    try:
        return str(Path(os.environ[_SOCKET]).stat().st_ino) == os.environ[_SOCKET_FILE]
    except (KeyError, OSError):
        return False
