"""Answering: the console's servers, one for this host and one by TLS for others, in one loop."""

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
"""IP_FREEBIND: an address that this host does not have for a while is no reason not to answer at another."""
_PERIOD = 2.0
MOST, MOST_OF_ONE = 512, 64
"""Connections of other hosts at a time, and of one address among them. Anybody can open one, token or not; these leave
descriptors to this host's callers, and room to other addresses."""
PATIENCE = 10.0
"""Seconds that a caller has for the head of its first request."""


class Listener(socket.socket):
    """Closes connections beyond so many at once."""

    def __init__(self) -> None:
        super().__init__()
        self._open: WeakSet[socket.socket] = WeakSet()
        """Those that were accepted, and which somebody still holds."""

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        """Raises ConnectionAbortedError where there are too many: asyncio goes on to the next one then."""
        link, address = super().accept()
        there = [self._address(each) for each in self._open if each.fileno() >= 0]
        if len(there) >= MOST or there.count(address[0]) >= MOST_OF_ONE:
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
    """Turns away who says nothing, or says it without end. It bounds the head of a request, too."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        asyncio.get_running_loop().call_later(PATIENCE, self._turn_away)

    def _turn_away(self) -> None:
        if self.cycle is None:
            self.transport.abort()


class Others(uvicorn.Server):
    """The server for other hosts. It ends with the first one, which gets the signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def answering_others(app: Starlette, pair: Path) -> Others:
    """A server by TLS that shows the certificate in this file, of certificate and key."""
    config = uvicorn.Config(
        app, ssl_certfile=pair, ssl_keyfile=pair, log_level="warning", server_header=False, proxy_headers=False,
        http=Prompt,
    )  # fmt: skip
    return Others(config)


@dataclass
class Answering:
    """Both servers."""

    own: uvicorn.Server
    others: Others | None
    at: tuple[str, int]
    """Where other hosts are answered."""

    async def serve(self, beat: Callable[[], None], every: float) -> None:
        """Serve until a signal comes; the beat comes from the loop that answers."""

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
    """Show new callers a certificate that was renewed. Connections that are open stay."""
    pair = Path(str(config.ssl_certfile))
    seen = _stamp(pair)
    while True:
        await asyncio.sleep(_PERIOD)
        now = _stamp(pair)
        if now is None or now == seen or config.ssl is None:
            continue
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(pair)
            config.ssl.load_cert_chain(pair)
        except OSError as error:
            structlog.get_logger("console").error("the certificate was not renewed", why=str(error))
        seen = now


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        there = path.stat()
    except OSError:
        return None
    return there.st_ino, there.st_mtime_ns
