"""MLflow's REST API over httpx: the one place for authorisation, timeouts and the meaning of errors."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx

from sluicegate.registry.deadline import SECONDS, bounded
from sluicegate.registry.words.errors import CatalogUnavailable, NotFound, UsageError
from sluicegate.registry.words.settings import MlflowServer

API = "/api/2.0/mlflow"
TIMEOUT = httpx.Timeout(10.0, connect=3.0)
DEADLINE = 30.0
"""Seconds that one call may take in total. Large files have their own limits."""


class Rest:
    """Calls to one MLflow server. Raises CatalogUnavailable, NotFound, UsageError."""

    def __init__(self, server: MlflowServer, *, timeout: httpx.Timeout = TIMEOUT, deadline: float = DEADLINE) -> None:
        self.server = server
        self._timeout = timeout
        http = httpx.Client(
            base_url=server.url,
            auth=(server.username, server.password) if server.username else None,
            headers={"authorization": f"Bearer {server.token}"} if server.token else None,
            timeout=timeout,
            trust_env=not _is_loopback(server.url),
        )
        self._http = bounded(http, deadline)

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, /, **query: str) -> dict[str, Any]:
        """The JSON answer of a read under the API's prefix."""
        return self.ask("GET", API + path, params=query)

    def part(self, name: str, path: str, /, **query: str) -> dict[str, Any]:
        """The object of this name in the answer. Raises CatalogUnavailable if MLflow did not send one."""
        part = self.get(path, **query).get(name)
        if not isinstance(part, dict):
            raise self.unavailable("sent an answer that is not in MLflow's format")
        return part

    def post(self, path: str, body: Mapping[str, object], *, method: str = "POST") -> dict[str, Any]:
        """The JSON answer of a write under the API's prefix."""
        return self.ask(method, API + path, json=body)

    def ask(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        """The JSON answer of any path."""
        with self._reached():
            answer = self._http.request(method, path, **arguments)
            self._refuse(answer)
            body = answer.json()
        if not isinstance(body, dict):
            raise self.unavailable("sent an answer that is not in MLflow's format")
        return body

    def text(self, path: str, query: Mapping[str, str]) -> str:
        """A small file as text."""
        with self._reached():
            answer = self._http.get(path, params=dict(query))
            self._refuse(answer)
            return answer.text

    def put(self, path: str, content: bytes) -> None:
        """Write a whole file."""
        with self._reached():
            self._refuse(self._http.put(path, content=content))

    def upload(self, path: str, pieces: Iterable[bytes], size: int, seconds: float) -> None:
        """Write a large file within `seconds`, including the wait for an answer: the server stores the file first."""
        limits = httpx.Timeout(self._timeout.write, connect=self._timeout.connect, read=seconds)
        headers = {"content-length": str(size)}
        with self._reached():
            self._refuse(
                self._http.put(path, content=pieces, headers=headers, timeout=limits, extensions={SECONDS: seconds})
            )

    @contextmanager
    def stream(self, path: str, seconds: float) -> Iterator[Iterator[bytes]]:
        """The bytes of a file, all within `seconds`. A limit for silence alone would let a server drip."""
        with self._reached(), self._http.stream("GET", path, extensions={SECONDS: seconds}) as answer:
            if answer.is_error:
                answer.read()
            self._refuse(answer)
            yield answer.iter_bytes(1 << 20)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            raise self.unavailable(f"does not answer ({str(error) or type(error).__name__})") from error
        except ValueError as error:
            raise self.unavailable("sent an answer that is not in MLflow's format") from error

    def _refuse(self, answer: httpx.Response) -> None:
        if not answer.is_error:
            return
        try:
            body = answer.json()
        except ValueError:
            body = {}
        code, message = str(body.get("error_code", "")), str(body.get("message", ""))
        if answer.status_code in (401, 403):
            raise self.unavailable(
                f"refuses the credentials (HTTP {answer.status_code})",
                fix="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.",
            )
        if code == "RESOURCE_DOES_NOT_EXIST" or (code == "INVALID_PARAMETER_VALUE" and message.endswith("not found.")):
            raise NotFound(f"MLflow: {message}")
        if code == "INVALID_PARAMETER_VALUE":
            raise UsageError(f"MLflow: {message}")
        raise self.unavailable(f"answered {answer.status_code} {message or answer.reason_phrase}".rstrip())

    def unavailable(self, what: str, *, fix: str = "check that it runs: sluice doctor.") -> CatalogUnavailable:
        """The error that says what this server did."""
        return CatalogUnavailable(f"MLflow at {self.server.url} {what}.", fix=fix)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
