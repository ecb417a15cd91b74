"""Addresses of this machine: ports that every user can reach, and sockets that only their owner can."""

from __future__ import annotations

import hashlib
import http.client
import os
import socket
from pathlib import Path

from sluicegate.registry.words.errors import Refused

HOST = "127.0.0.1"
_SOCKET_PATH_LIMIT = 100
"""Bytes. The limit of Unix socket paths is 107, but a socket that replaces another first has a longer name."""


def address_towards(host: str, port: int) -> str | None:
    """This machine's address in connections to another one; None if none leads there. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, port))
        except OSError:
            return None
        return str(probe.getsockname()[0])


def is_free(port: int) -> bool:
    """Whether a program could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def socket_path(folder: Path, name: str) -> Path:
    """The path of one of our sockets: in the folder, unless that path would be too long."""
    inside = folder / f"{name}.sock"
    if len(os.fsencode(inside)) < _SOCKET_PATH_LIMIT:
        return inside
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/sluice-{os.getuid()}")  # noqa: S108
    return runtime / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}-{name}.sock"


def is_listening(path: Path) -> bool:
    """Whether a process listens on this Unix socket, even if it accepts no connection right now."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except BlockingIOError:  # its queue of connections is full
            return True
        except OSError:
            return False
        return True


def own_folder(folder: Path) -> None:
    """Create a folder that only its owner may enter. Raises Refused if it exists and belongs to somebody else."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise Refused(
            f"{folder} belongs to another user, who could take the sockets and files in it.",
            fix="remove it, or choose another folder.",
        )
    folder.chmod(0o700)


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str | Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = str(path)

    def connect(self) -> None:
        """Open the connection."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
