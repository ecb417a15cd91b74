"""Small HTTP requests to the servers of this machine, without the cost of importing an HTTP library."""

from __future__ import annotations

import http
import http.client
from dataclasses import dataclass
from urllib.parse import urlsplit

from sluicegate.services.host.parts import HttpProbe


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A server's response."""

    status: int
    text: str
    date: str = ""
    """The server's time, in HTTP format."""


def ask(probe: HttpProbe, *, seconds: float, method: str | None = None) -> Answer | None:
    """Send the probe's request; None if there is no answer within `seconds`. By default GET, or POST with a body."""
    url = urlsplit(probe.url)
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = kind(url.hostname or "localhost", url.port, timeout=seconds)
    target = url.path + (f"?{url.query}" if url.query else "")
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
    """Whether the server answers as the probe requires."""
    answer = ask(probe, seconds=seconds)
    return answer is not None and answer.status == http.HTTPStatus.OK and probe.contains in answer.text
