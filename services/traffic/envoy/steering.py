"""Steering: decides which of two processes that listen on the same port gets new connections.

With SO_REUSEPORT the kernel distributes connections among all listeners. When a listener closes, the kernel resets the
connections that it has not accepted. A small BPF filter keeps new connections away from the listener that will close.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
from collections.abc import Collection

import psutil

_PIDFD_GETFD = 438
_ATTACH, _DETACH = 51, 68
"""SO_ATTACH_REUSEPORT_CBPF, SO_DETACH_REUSEPORT_BPF."""
_LOAD_RANDOM = (0x20, 0xFFFFF000 + 56)
_MODULO, _ADD, _RETURN, _RETURN_CONSTANT = 0x94, 0x04, 0x16, 0x06


Address = tuple[str, int]
"""Address and port."""


def listening(pids: Collection[int], address: Address) -> list[tuple[int, int]]:
    """The pid and descriptor of every socket on which these processes listen at the address."""
    sockets = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            connections = psutil.Process(pid).net_connections(kind="tcp")
            listeners = [
                each for each in connections if each.status == psutil.CONN_LISTEN and tuple(each.laddr) == address
            ]
            sockets += [(pid, each.fd) for each in listeners]
    return sockets


def steer_to_last(successor: int, address: Address, *, former: int, is_closing: bool = False) -> bool:
    """Send all new connections to the successor, which began to listen after the `former` sockets.

    While the former ones close, all connections go to the one socket whose index stays valid, whichever closes first.
    Returns False if the system does not allow steering; then the kernel distributes connections as before.
    """
    count = len(listening([successor], address))
    if not former or not count:
        return False
    spread = (_LOAD_RANDOM, (_MODULO, count), (_ADD, former), (_RETURN, 0))
    return _set(successor, address, ((_RETURN_CONSTANT, former),) if is_closing else spread)


def steer_no_more(successor: int, address: Address) -> None:
    """Let the kernel distribute connections again."""
    _set(successor, address, ())


def _set(successor: int, address: Address, program: tuple[tuple[int, int], ...]) -> bool:
    try:
        with _borrowed(*listening([successor], address)[0]) as listener:
            if not program:
                listener.setsockopt(socket.SOL_SOCKET, _DETACH, 0)
                return True
            code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", op, 0, 0, k) for op, k in program))
            option = struct.pack("@HP", len(program), ctypes.addressof(code))
            listener.setsockopt(socket.SOL_SOCKET, _ATTACH, option)
            return True
    except (OSError, IndexError, AttributeError):
        return False


def _borrowed(pid: int, descriptor: int) -> socket.socket:
    """A duplicate of a socket of another of our processes."""
    handle = os.pidfd_open(pid)
    try:
        number = ctypes.CDLL(None, use_errno=True).syscall(_PIDFD_GETFD, handle, descriptor, 0)
        if number < 0:
            raise OSError(ctypes.get_errno(), "the socket cannot be borrowed")
        return socket.socket(fileno=number)
    finally:
        os.close(handle)
