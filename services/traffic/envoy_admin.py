"""Envoy's admin interface over its Unix socket: statistics and a few commands."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from urllib.parse import quote

from registry.errors import Unreachable


class Admin:
    """One request, one connection: the admin interface is asked a few times a second at most."""

    def __init__(self, path: Path, *, timeout: float = 5.0) -> None:
        self._path = path
        self._timeout = timeout

    def stats(self, pattern: str) -> dict[str, int | str]:
        """The statistics whose names match a regular expression. Raises Unreachable."""
        body = json.loads(self._ask("GET", f"/stats?format=json&filter={quote(pattern)}"))
        return {row["name"]: row["value"] for row in body["stats"] if "name" in row}

    def command(self, path: str) -> None:
        """Give a command, such as `/reopen_logs`. Raises Unreachable."""
        self._ask("POST", path)

    def _ask(self, method: str, path: str) -> bytes:
        connection = _UnixConnection(self._path, self._timeout)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(
                f"Envoy's admin socket {self._path} does not answer: {error}.",
                fix="see whether Envoy runs: sluice status.",
            ) from error
        finally:
            connection.close()
        if answer.status != 200:
            raise Unreachable(f"Envoy's admin interface answered {answer.status} to {path}: {body[:200]!r}.")
        return body


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("envoy-admin", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
