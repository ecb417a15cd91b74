"""Deadline: HTTP requests that end in time, whatever a server does. A timeout for each read would let it drip."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import httpcore
import httpx

SECONDS = "deadline-seconds"
"""Extension of a request that has its own limit, such as one for a large file."""
_PIECE = 16 << 10
"""Bytes written at once, so that a slow reader is noticed."""
_ErrorT = TypeVar("_ErrorT", bound=Exception)


def bounded(http: httpx.Client, seconds: float, *, inside: Sequence[httpx.HTTPTransport] = ()) -> httpx.Client:
    """Make each request of the client end within `seconds`: connecting, sending, and reading head and body together.

    `inside` are transports that the client's own transports use. DNS lookups have the system resolver's limit instead.
    """
    remaining = _Remaining(seconds)
    http.event_hooks["request"].append(remaining.begin)
    for transport in (http._transport, *http._mounts.values(), *inside):  # noqa: SLF001
        if isinstance(transport, httpx.HTTPTransport):
            pool = transport._pool  # noqa: SLF001
            pool._network_backend = _Backend(pool._network_backend, remaining)  # noqa: SLF001
    return http


class _Remaining(threading.local):
    """The time that is left for this thread's request."""

    def __init__(self, seconds: float) -> None:
        self._usual = self._seconds = seconds
        self._until: float | None = None

    def begin(self, request: httpx.Request) -> None:
        self._seconds = request.extensions.get(SECONDS, self._usual)
        self._until = time.monotonic() + self._seconds

    def limit(self, timeout: float | None, error: Callable[[str], _ErrorT]) -> float | None:
        """The shorter of a timeout and the remaining time. Raises `error` if no time remains."""
        if self._until is None:
            return timeout
        remaining = self._until - time.monotonic()
        if remaining <= 0:
            raise error(f"not done within {self._seconds:g} s")
        return remaining if timeout is None else min(timeout, remaining)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, inner: httpcore.NetworkBackend, remaining: _Remaining) -> None:
        self._inner, self._remaining = inner, remaining

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        timeout = self._remaining.limit(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.connect_tcp(host, port, timeout, local_address, socket_options), self._remaining)

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        timeout = self._remaining.limit(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.connect_unix_socket(path, timeout, socket_options), self._remaining)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, remaining: _Remaining) -> None:
        self._inner, self._remaining = inner, remaining

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._remaining.limit(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for at in range(0, len(buffer), _PIECE):
            self._inner.write(buffer[at : at + _PIECE], self._remaining.limit(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> _Stream:
        timeout = self._remaining.limit(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout), self._remaining)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
