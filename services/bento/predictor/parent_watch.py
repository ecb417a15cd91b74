"""Workers that end with their parent. BentoML runs each in a session of its own, so a killed parent leaves them.

One that callers still come to stays until a new service has taken its door, so that nobody is turned away while that
one reads its model; but not for ever: nobody minds it, and nobody replaces it if it hangs.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

_PARENT = "BENTO_PARENT_PID"
_DOOR, _DOOR_FILE = "BENTO_DOOR", "BENTO_DOOR_FILE"
_POLL_SECONDS = 0.5
_LINGER_SECONDS = 1.0
"""Who knocked before the door was taken is let in and answered."""
_LONGEST_SECONDS = 600.0
_GRACE_SECONDS = 10.0


def remember_parent() -> None:
    """Note, in the first process that loads the service, who the parent of later ones is."""
    os.environ.setdefault(_PARENT, str(os.getpid()))


def end_with_parent() -> None:
    """In a worker, watch for the parent's end: then answer who still comes, and what is in flight, and end.

    Elsewhere do nothing.
    """
    parent = int(os.environ.get(_PARENT, os.getpid()))
    if parent != os.getpid():
        threading.Thread(target=_watch, args=(parent,), name="parent-watch", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    orphaned = time.monotonic()
    while _is_asked() and time.monotonic() - orphaned < _LONGEST_SECONDS:
        time.sleep(_POLL_SECONDS)
    time.sleep(_LINGER_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    os._exit(1)


def _is_asked() -> bool:
    """Whether callers come to this worker: its socket is still at the path where they knock."""
    try:
        return str(Path(os.environ[_DOOR]).stat().st_ino) == os.environ[_DOOR_FILE]
    except (KeyError, OSError):
        return False
