"""Handover: one Envoy takes over from another on the same port. Both listen for a while, and no request is refused.

The former Envoy leaves its admin socket to its successor, gets no new connections, asks its callers with each answer to
reconnect, and is ended once it is idle. Until then, no new connection may reach it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from sluicegate.registry.words.errors import Unreachable
from sluicegate.services.traffic.envoy.admin import Admin
from sluicegate.services.traffic.envoy.names import LIVE
from sluicegate.services.traffic.envoy.steering import Address, listening, steer_no_more, steer_to_last

_POLL = 0.1
_ACCEPTING = 1.0
"""Seconds until connections made before the steering have been accepted, and so are counted."""
_BUSY = rf"^http\.{LIVE}\.downstream_(rq|cx)_active$"
_LISTENERS = "listener_manager.workers_started"


class Handover:
    """The steps of one handover, in the order of the methods."""

    def __init__(self, admin_socket: Path, addresses: Sequence[Address], patience: float = 30.0) -> None:
        """`patience`: seconds that callers of the former Envoy have to finish."""
        self._socket, self._addresses = admin_socket, addresses
        self._aside = admin_socket.with_name(f"{admin_socket.name}.former")
        self._patience = patience
        self._successor: int | None = None

    @property
    def sockets(self) -> tuple[Path, Path]:
        """The admin sockets of the successor (or of a single Envoy), and of the former one."""
        return self._socket, self._aside

    def step_aside(self) -> None:
        """Rename the former Envoy's admin socket, so that the successor can use the name."""
        with contextlib.suppress(FileNotFoundError):
            self._socket.replace(self._aside)

    def is_ready(self) -> bool:
        """Whether the successor serves."""
        try:
            return bool(Admin(self._socket).stats(f"^{_LISTENERS}$").get(_LISTENERS))
        except (Unreachable, ValueError):
            return False

    def drain(self, former: Collection[int], successor: int) -> None:
        """Move the callers of the former processes to the successor, and wait until they have moved."""
        self._successor = successor
        sockets = {address: len(listening(former, address)) for address in self._addresses}
        are_steered = [steer_to_last(successor, address, former=count) for address, count in sockets.items() if count]
        is_steered = bool(are_steered) and all(are_steered)
        admin, began = Admin(self._aside), time.monotonic()
        with contextlib.suppress(Unreachable):  # the former one has ended by itself
            # Closing a listener resets connections not accepted yet, so listeners stay open unless new ones come.
            admin.command("/drain_listeners?graceful&skip_exit" if is_steered else "/drain_listeners?graceful")
            time.sleep(_ACCEPTING)
            while any(admin.stats(_BUSY).values()) or (not is_steered and self._are_open(former)):
                if time.monotonic() - began > self._patience:
                    break
                time.sleep(_POLL)
        for address, count in sockets.items():
            steer_to_last(successor, address, former=count, is_closing=True)

    def done(self) -> None:
        """Clean up after the former Envoy has ended: remove its socket and stop steering connections."""
        self._aside.unlink(missing_ok=True)
        if self._successor is not None:
            for address in self._addresses:
                steer_no_more(self._successor, address)

    def step_back(self) -> None:
        """Give the former Envoy its socket's name back, after the successor failed."""
        with contextlib.suppress(FileNotFoundError):
            self._aside.replace(self._socket)

    def _are_open(self, former: Collection[int]) -> bool:
        return any(listening(former, address) for address in self._addresses)
