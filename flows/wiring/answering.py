"""Answering: the console's two servers in one event loop, one for this host and one over TLS for other hosts."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakSet

import structlog
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

_FREEBIND = 15
"""IP_FREEBIND: lets the console start although the host does not have the address yet."""
_PERIOD = 2.0
MOST, MOST_OF_ONE = 512, 64
"""Most open connections from other hosts, in all and from one address. Anybody can open one without a token, so these
limits keep descriptors free for callers of this host, and room for other addresses."""
PATIENCE = 10.0
"""Seconds in which a caller must send the head of its first request."""


class Listener(socket.socket):
    """A socket that closes connections beyond the limits."""

    def __init__(self) -> None:
        super().__init__()
        self._open: WeakSet[socket.socket] = WeakSet()
        """Accepted connections that are still in use."""

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        """Raises ConnectionAbortedError if there are too many; asyncio then continues with the next one."""
        link, address = super().accept()
        addresses = [self._address(each) for each in self._open if each.fileno() >= 0]
        if len(addresses) >= MOST or addresses.count(address[0]) >= MOST_OF_ONE:
            link.close()
            raise ConnectionAbortedError("too many connections")
        self._open.add(link)
        return link, address

    @staticmethod
    def _address(link: socket.socket) -> str | None:
        with contextlib.suppress(OSError):
            return str(link.getpeername()[0])
        return None


class Prompt(H11Protocol):
    """Drops callers that send nothing or do not finish the head of their first request. Also bounds the head's size."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        asyncio.get_running_loop().call_later(PATIENCE, self._turn_away)

    def _turn_away(self) -> None:
        if self.cycle is None:
            self.transport.abort()


class Others(uvicorn.Server):
    """The server for other hosts. It ends with the other server, which handles the signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle no signals."""
        yield


def answering_others(app: Starlette, pair: Path) -> Others:
    """A TLS server. `pair`: a file with its certificate and key."""
    config = uvicorn.Config(
        app, ssl_certfile=pair, ssl_keyfile=pair, log_level="warning", server_header=False, proxy_headers=False,
        http=Prompt,
    )  # fmt: skip
    return Others(config)


@dataclass
class Answering:
    """Both servers of the console."""

    own: uvicorn.Server
    others: Others | None
    at: tuple[str, int]
    """The address and port for other hosts."""

    async def serve(self, beat: Callable[[], None], every: float) -> None:
        """Serve until a signal comes. The loop that answers requests also calls `beat`, so that a hang stops it."""

        async def beating() -> None:
            while True:
                beat()
                await asyncio.sleep(every)

        tasks = [asyncio.create_task(beating())]
        if self.others is not None:
            tasks.append(asyncio.create_task(self.others.serve(sockets=[_listener(self.at)])))
            tasks.append(asyncio.create_task(_renewing(self.others.config)))
        await self.own.serve()
        if self.others is not None:
            self.others.should_exit = True
            await tasks[1]
        for each in tasks:
            each.cancel()


def _listener(at: tuple[str, int]) -> socket.socket:
    listener = Listener()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_IP, _FREEBIND, 1)
    listener.bind(at)
    return listener


async def _renewing(config: uvicorn.Config) -> None:
    """Load the certificate again when it was renewed. Open connections stay."""
    pair = Path(str(config.ssl_certfile))
    loaded = _stamp(pair)
    while True:
        await asyncio.sleep(_PERIOD)
        now = _stamp(pair)
        if now is None or now == loaded or config.ssl is None:
            continue
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(pair)
            config.ssl.load_cert_chain(pair)
        except OSError as error:
            structlog.get_logger("console").error("the certificate was not renewed", why=str(error))
        loaded = now


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
