"""Waking: a datagram that says "look now". Losing one costs at most the second until the next look."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

LONGEST = 100
"""Unix socket paths may not be longer; beyond it nobody is woken and the look every second is all there is."""


def ring(path: Path) -> None:
    """Wake whoever waits at `path`; nobody there is no error."""
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
        """What to wait on."""
        return [self._rung, self._socket] if self._socket else [self._rung]

    def ring(self) -> None:
        """Wake whoever waits in this process."""
        with contextlib.suppress(OSError):  # full: it is rung already; closed: nobody waits
            self._own.send(b"look", socket.MSG_DONTWAIT)

    def drain(self) -> None:
        """Forget every ring so far: one look answers them all."""
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
