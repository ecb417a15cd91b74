"""Waking: a datagram that says "look now". If one is lost, the next look comes within a second anyway."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

LONGEST = 100
"""The longest usable Unix socket path. With a longer one nothing is woken, and only the look every second remains."""


def ring(path: Path) -> None:
    """Wake the process that waits at `path`; it is no error if there is none."""
    if len(str(path)) > LONGEST:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell, contextlib.suppress(OSError):
        bell.setblocking(False)
        bell.sendto(b"look", str(path))


class Doorbell:
    """The waiting side. Other processes of this host ring at the path, other threads of this process by `ring`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._own, self._rung = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        if len(str(path)) <= LONGEST:
            path.unlink(missing_ok=True)
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.bind(str(path))
            path.chmod(0o600)

    def sockets(self) -> list[socket.socket]:
        """The sockets to wait on."""
        return [self._rung, self._socket] if self._socket else [self._rung]

    def ring(self) -> None:
        """Wake the waiting thread of this process."""
        with contextlib.suppress(OSError):  # full: already rung; closed: nobody waits
            self._own.send(b"look", socket.MSG_DONTWAIT)

    def drain(self) -> None:
        """Discard all rings so far; one look serves them all."""
        for each in self.sockets():
            each.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    each.recv(16)

    def close(self) -> None:
        for each in (self._own, self._rung):
            each.close()
        if self._socket is not None:
            self._socket.close()
            self._path.unlink(missing_ok=True)
