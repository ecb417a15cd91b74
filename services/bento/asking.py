"""Calls a running service directly: to probe it, or to have it answer requests for which no caller waits."""

from __future__ import annotations

import http.client
import json
from email.message import Message

from sluicegate.registry.words.build import Endpoint
from sluicegate.services.bento.predictor.answer import summary
from sluicegate.services.loopback import UnixConnection

NOBODY = 503
"""The status for a service that does not answer at all."""
_SUMMARY = "x-sluice-prediction"


def ask(endpoint: Endpoint, method: str, path: str, body: bytes | None, seconds: float) -> tuple[int, Message, bytes]:
    """Send a request; returns status, headers and body of the answer. Raises OSError, HTTPException."""
    connection = _connection(endpoint, seconds)
    try:
        connection.request(method, path, body, {"content-type": "application/json"} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def predict(endpoint: Endpoint, body: bytes, seconds: float) -> tuple[int, str | None]:
    """Send a prediction request; returns the status and the prediction summary, which covers an answer of any length.

    The request has no id, so the service does not capture it.
    """
    try:
        status, headers, content = ask(endpoint, "POST", "/predict", body, seconds)
        if status != http.client.OK:
            return status, None
        broken = json.loads(headers.get(_SUMMARY, "{}")).get("x")
        return status, summary(json.loads(content), broken, whole=True)
    except (OSError, http.client.HTTPException, ValueError):
        return NOBODY, None


def _connection(endpoint: Endpoint, seconds: float) -> http.client.HTTPConnection:
    if endpoint.socket:
        return UnixConnection(endpoint.socket, seconds)
    return http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=seconds)
