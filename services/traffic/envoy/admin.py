"""Envoy's admin interface over its Unix socket: statistics and a few commands."""

from __future__ import annotations

import http.client
import json
import threading
from pathlib import Path
from urllib.parse import quote

from sluicegate.registry.words.errors import Unreachable
from sluicegate.services.loopback import UnixConnection


class Admin:
    """Keeps one connection open, since a change of weight makes several calls. Safe to share between threads."""

    def __init__(self, path: Path, *, timeout: float = 5.0) -> None:
        self._path = path
        self._timeout = timeout
        self._connection: UnixConnection | None = None
        self._turn = threading.Lock()

    def stats(self, pattern: str) -> dict[str, int | str]:
        """The statistics whose names match a regular expression. Raises Unreachable."""
        body = json.loads(self._ask("GET", f"/stats?format=json&filter={quote(pattern)}"))
        return {row["name"]: row["value"] for row in body["stats"] if "name" in row}

    def command(self, path: str) -> None:
        """Give a command, such as `/reopen_logs`. Raises Unreachable."""
        self._ask("POST", path)

    def _ask(self, method: str, path: str) -> bytes:
        with self._turn:
            try:
                status, body = self._once(method, path)
            except TimeoutError as error:  # a retry would time out too
                raise self._unreachable(error) from error
            except (OSError, http.client.HTTPException):  # an Envoy that restarted has closed the connection
                status, body = self._anew(method, path)
        if status != 200:
            raise Unreachable(f"Envoy's admin interface answered {status} to {path}: {body[:200]!r}.")
        return body

    def _anew(self, method: str, path: str) -> tuple[int, bytes]:
        try:
            return self._once(method, path)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(
            f"Envoy's admin socket {self._path} does not answer: {error}.",
            fix="check that Envoy runs: sluice status.",
        )

    def _once(self, method: str, path: str) -> tuple[int, bytes]:
        """Send over the open connection, or a new one. Closes a connection that fails."""
        connection = self._connection or UnixConnection(self._path, self._timeout)
        self._connection = None
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return answer.status, body
