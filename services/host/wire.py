"""Small HTTP requests to the servers of this machine, without the cost of importing an HTTP library."""

from __future__ import annotations

import base64
import http.client
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sluicegate.services.host.parts import HttpProbe


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a server answered."""

    status: int
    text: str
    date: str = ""
    """The server's clock, as HTTP writes it."""


def ask(probe: HttpProbe, *, seconds: float, method: str | None = None) -> Answer | None:
    """Send the probe's request; None when nobody answers within `seconds`. By default GET, or POST with a body."""
    connection = _connection(probe, seconds)
    parts = urlsplit(probe.url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    headers = dict(probe.headers)
    if probe.body is not None:
        headers["Content-Type"] = "application/json"
    try:
        connection.request(method or ("GET" if probe.body is None else "POST"), target or "/", probe.body, headers)
        response = connection.getresponse()
        text = response.read().decode(errors="replace")
        return Answer(status=response.status, text=text, date=response.headers.get("Date", ""))
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def is_ready(probe: HttpProbe, *, seconds: float) -> bool:
    """Whether the server answers as the probe asks."""
    answer = ask(probe, seconds=seconds)
    return answer is not None and answer.status == probe.status and probe.contains in answer.text


def basic(user_and_password: str) -> str:
    """The Authorization header of `user:password`."""
    return f"Basic {base64.b64encode(user_and_password.encode()).decode()}"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _connection(probe: HttpProbe, seconds: float) -> http.client.HTTPConnection:
    if probe.socket is not None:
        return _UnixConnection(probe.socket, seconds)
    parts = urlsplit(probe.url)
    host = parts.hostname or "localhost"
    if parts.scheme == "https":
        return http.client.HTTPSConnection(host, parts.port, timeout=seconds)
    return http.client.HTTPConnection(host, parts.port, timeout=seconds)


def mlflow_authorization(environment: Mapping[str, str]) -> dict[str, str]:
    """The Authorization header that MLflow's client would send with this environment."""
    if token := environment.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    if user := environment.get("MLFLOW_TRACKING_USERNAME"):
        return {"Authorization": basic(f"{user}:{environment.get('MLFLOW_TRACKING_PASSWORD', '')}")}
    return {}


def prefect_authorization(environment: Mapping[str, str]) -> dict[str, str]:
    """The Authorization header that Prefect's client would send with this environment."""
    if auth := environment.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": basic(auth)}
    if key := environment.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    return {}
