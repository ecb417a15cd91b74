"""Handover: one Envoy takes over from another on the same port. Both listen for a while; no request is refused.

The former one leaves its admin socket to its successor, gets no new connections, tells its callers with each answer to
connect again, and is ended once it has nothing left to do. Until it has ended, no new connection may go to it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from sluicegate.registry.words.errors import Unreachable
from sluicegate.services.traffic.envoy.admin import Admin
from sluicegate.services.traffic.envoy.names import LIVE
from sluicegate.services.traffic.envoy.steering import Door, listening, steer_no_more, steer_to_last

_POLL = 0.1
_ACCEPTING = 1.0
"""Seconds until whoever connected before new connections were steered away has been accepted, and counts."""
_BUSY = rf"^http\.{LIVE}\.downstream_(rq|cx)_active$"
_LISTENERS = "listener_manager.workers_started"


class Handover:
    """The steps of one handover, in the order of the methods."""

    def __init__(self, admin_socket: Path, doors: Sequence[Door], patience: float = 30.0) -> None:
        """`patience`: seconds that callers of the former one have to finish."""
        self._socket, self._doors = admin_socket, doors
        self._aside = admin_socket.with_name(f"{admin_socket.name}.former")
        self._patience = patience
        self._successor: int | None = None

    @property
    def sockets(self) -> tuple[Path, Path]:
        """The admin sockets of the successor, or of an Envoy alone, and of a former one."""
        return self._socket, self._aside

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

    def drain(self, former: Collection[int], successor: int) -> None:
        """Have the callers of the former processes connect to the successor, and wait until they have."""
        self._successor = successor
        sockets = {door: len(listening(former, door)) for door in self._doors}
        are_steered = [steer_to_last(successor, door, former=count) for door, count in sockets.items() if count]
        is_steered = bool(are_steered) and all(are_steered)
        admin, began = Admin(self._aside), time.monotonic()
        with contextlib.suppress(Unreachable):  # it ended by itself
            # Listeners that close reset what they have not accepted: they stay, unless they get new connections.
            admin.command("/drain_listeners?graceful&skip_exit" if is_steered else "/drain_listeners?graceful")
            time.sleep(_ACCEPTING)
            while any(admin.stats(_BUSY).values()) or (not is_steered and self._are_open(former)):
                if time.monotonic() - began > self._patience:
                    break
                time.sleep(_POLL)
        for door, count in sockets.items():
            steer_to_last(successor, door, former=count, is_closing=True)

    def done(self) -> None:
        """The former one has ended: forget its socket, and let the kernel share out new connections again."""
        self._aside.unlink(missing_ok=True)
        if self._successor is not None:
            for door in self._doors:
                steer_no_more(self._successor, door)

    def step_back(self) -> None:
        """Give the former one its name again: the successor came to nothing."""
        with contextlib.suppress(FileNotFoundError):
            self._aside.replace(self._socket)

    def _are_open(self, former: Collection[int]) -> bool:
        return any(listening(former, door) for door in self._doors)
