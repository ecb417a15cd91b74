"""Something that answers as the service of a build does, at a socket or an address, and can hang or refuse."""

from __future__ import annotations

import json
import socketserver
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from http.server import BaseHTTPRequestHandler
from typing import Any


class Mode(StrEnum):
    """How a replica behaves from its start."""

    READY = "ready"
    STARTING = "starting"
    """Its process runs, and reads its model."""
    REFUSING = "refusing"
    """The model's own example is an error to it."""
    GIVEN_UP = "given up"
    """It ends whenever it is started."""


class Answering:
    """One replica's door. It is shut until `open`."""

    def __init__(self, listen: Callable[[type[BaseHTTPRequestHandler]], socketserver.BaseServer]) -> None:
        self._listen = listen
        self._server: Any = None
        self.is_hanging = False
        self.is_refusing = False

    @property
    def is_open(self) -> bool:
        return self._server is not None

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def open(self) -> None:
        replica = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._say(200, b"")

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                error = json.dumps({"error": "the model raised ValueError: no such column"}).encode()
                self._say(500 if replica.is_refusing else 200, error if replica.is_refusing else b"[1.0]")

            def _say(self, status: int, body: bytes) -> None:
                while replica.is_hanging and replica.is_open:
                    time.sleep(0.01)
                with suppress(OSError):  # who asked may have given up
                    self.send_response(status)
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def address_string(self) -> str:
                return "caller"

            def log_message(self, *said: Any) -> None:
                """Nothing is printed."""

        self._server = self._listen(Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            server.shutdown()
            server.server_close()


def at_socket(path: str) -> Answering:
    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

    return Answering(lambda handler: Server(path, handler))


def at_address(host: str) -> Answering:
    """At a free port of this address."""

    class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
        daemon_threads = True

    return Answering(lambda handler: Server((host, 0), handler))
