"""Deadline: HTTP requests that end in time whatever a server does. A limit for each read alone would let it drip."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import httpcore
import httpx

SECONDS = "deadline-seconds"
"""Extension of a request that has a limit of its own, such as one for a large file."""
_PIECE = 16 << 10
"""Bytes written at once, so that one who reads slowly is noticed."""
_ErrorT = TypeVar("_ErrorT", bound=Exception)


def bounded(http: httpx.Client, seconds: float, *, inside: Sequence[httpx.HTTPTransport] = ()) -> httpx.Client:
    """The same client, each of whose requests ends within `seconds`: connecting, sending, head and body together.

    `inside` are transports that those of the client use. Looking up a name has the system resolver's limit instead.
    """
    left = _Left(seconds)
    http.event_hooks["request"].append(left.begin)
    for transport in (http._transport, *http._mounts.values(), *inside):  # noqa: SLF001
        if isinstance(transport, httpx.HTTPTransport):
            pool = transport._pool  # noqa: SLF001
            pool._network_backend = _Backend(pool._network_backend, left)  # noqa: SLF001
    return http


class _Left(threading.local):
    """What is left of the time of this thread's request."""

    def __init__(self, seconds: float) -> None:
        self._usual = self._seconds = seconds
        self._until: float | None = None

    def begin(self, request: httpx.Request) -> None:
        self._seconds = request.extensions.get(SECONDS, self._usual)
        self._until = time.monotonic() + self._seconds

    def of(self, timeout: float | None, late: Callable[[str], _ErrorT]) -> float | None:
        """The shorter of a limit and what is left. Raises `late` when nothing is."""
        if self._until is None:
            return timeout
        left = self._until - time.monotonic()
        if left <= 0:
            raise late(f"not done within {self._seconds:g} s")
        return left if timeout is None else min(timeout, left)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, inner: httpcore.NetworkBackend, left: _Left) -> None:
        self._inner, self._left = inner, left

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        timeout = self._left.of(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.connect_tcp(host, port, timeout, local_address, socket_options), self._left)

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        timeout = self._left.of(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.connect_unix_socket(path, timeout, socket_options), self._left)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, left: _Left) -> None:
        self._inner, self._left = inner, left

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._left.of(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for at in range(0, len(buffer), _PIECE):
            self._inner.write(buffer[at : at + _PIECE], self._left.of(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> _Stream:
        timeout = self._left.of(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout), self._left)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
