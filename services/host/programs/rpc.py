"""The supervisor's XML-RPC over its Unix socket."""

from __future__ import annotations

import contextlib
import http.client
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import Faults, SupervisorTransport, UnixStreamHTTPConnection

from sluicegate.registry.words.errors import ServiceFailed, Unreachable

SECONDS = 15.0


class _Connection(UnixStreamHTTPConnection):  # type: ignore[misc]
    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(SECONDS)


class Faulted(ServiceFailed):
    """The supervisor refused a call; `code` is one of supervisor.xmlrpc.Faults."""

    def __init__(self, call: str, code: int, text: str) -> None:
        super().__init__(f"the supervisor refused {call}: {text}", fix="Look into logs/supervisord.log.")
        self.code = code


class Rpc:
    """Calls to one supervisor. Thread-safe, because each call has its own connection."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def call(self, name: str, *arguments: object) -> Any:
        """Call `supervisor.<name>`. Raises Unreachable if there is no answer, and Faulted if the call is refused."""
        with self._server() as server:
            try:
                return getattr(server.supervisor, name)(*arguments)
            except xmlrpc.client.Fault as fault:
                if fault.faultCode == Faults.SHUTDOWN_STATE:
                    raise Unreachable("the process supervisor is shutting down.", fix="Run `sluice up`.") from fault
                raise Faulted(name, fault.faultCode, fault.faultString) from fault
            except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError) as error:
                raise Unreachable(
                    f"the process supervisor does not answer on {self._socket}: {error}", fix="Run `sluice up`."
                ) from error

    @contextlib.contextmanager
    def _server(self) -> Iterator[xmlrpc.client.ServerProxy]:
        transport = SupervisorTransport(serverurl=f"unix://{self._socket}")
        transport._get_connection = self._connect  # noqa: SLF001
        with contextlib.closing(transport):
            yield xmlrpc.client.ServerProxy("http://localhost", transport=transport)

    def _connect(self) -> _Connection:
        connection = _Connection("localhost")
        connection.socketfile = str(self._socket)
        return connection
