"""Answering: the console's servers, one for this host and one by TLS for others, in one loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog
import uvicorn
from starlette.applications import Starlette

_FREEBIND = 15
"""IP_FREEBIND: an address that this host does not have for a while is no reason not to answer at another."""
_PERIOD = 2.0


class Others(uvicorn.Server):
    """The server for other hosts. It ends with the first one, which gets the signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def answering_others(app: Starlette, pair: Path) -> Others:
    """A server by TLS that shows the certificate in this file, of certificate and key."""
    config = uvicorn.Config(
        app, ssl_certfile=pair, ssl_keyfile=pair, log_level="warning", server_header=False, proxy_headers=False
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
    listener = socket.socket()
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
