"""Handover: one Envoy takes over from another on the same port. Both listen for a while; no request is refused.

The kernel shares connections out between the two. The former one leaves its admin socket to its successor, tells its
callers with each answer to connect anew, and is ended once it has nothing left to do.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from sluicegate.registry.words.errors import Unreachable
from sluicegate.services.traffic.envoy.admin import Admin
from sluicegate.services.traffic.envoy.names import LIVE

_POLL = 0.1
_LISTENERS = "listener_manager.workers_started"


class Handover:
    """The steps of one handover, in the order of the methods."""

    def __init__(self, admin_socket: Path, patience: float = 30.0) -> None:
        """`patience`: seconds that callers of the former one have to finish."""
        self._socket = admin_socket
        self._aside = admin_socket.with_name(f"{admin_socket.name}.former")
        self._patience = patience

    def step_aside(self) -> None:
        """Leave the admin socket's name to the successor. The former one answers under another."""
        with contextlib.suppress(FileNotFoundError):
            self._socket.replace(self._aside)

    def is_ready(self) -> bool:
        """Whether the successor serves."""
        try:
            return bool(Admin(self._socket).stats(f"^{_LISTENERS}$").get(_LISTENERS))
        except (Unreachable, ValueError):
            return False

    def drain(self) -> None:
        """Have the former one's callers connect anew, and wait until they have."""
        former, until = Admin(self._aside), time.monotonic() + self._patience
        with contextlib.suppress(Unreachable):  # it ended by itself
            former.command("/drain_listeners?graceful&skip_exit")
            while any(former.stats(rf"^http\.{LIVE}\.downstream_(rq|cx)_active$").values()):
                if time.monotonic() > until:
                    return
                time.sleep(_POLL)

    def done(self) -> None:
        """Forget the former one's socket."""
        self._aside.unlink(missing_ok=True)

    def step_back(self) -> None:
        """Give the former one its name again: the successor came to nothing."""
        with contextlib.suppress(FileNotFoundError):
            self._aside.replace(self._socket)
