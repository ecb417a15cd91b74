"""Readiness: a service is ready if it says so and answers the model's own example."""

from __future__ import annotations

import contextlib
import http.client
import json
from pathlib import Path

from sluicegate.registry.words.build import Endpoint
from sluicegate.registry.words.errors import ServiceFailed
from sluicegate.services.bento.asking import ask

READY_SECONDS = 2.0
SMOKE_SECONDS = 10.0
LIVE_SECONDS = 5.0
"""Longer than the readiness check, so that a busy service does not count as hanging."""
_TRACEBACK, _TRACEBACK_LINES = "Traceback (most recent call last):", 12
_TAIL_BYTES = 64 * 1024
_PASSING = (408, 429, 502, 503, 504)
"""Statuses of a server that is busy or not up yet."""


EXAMPLE = "serving_input_example.json"
"""The file with a model's own input example."""


def example_in(model: Path) -> bytes | None:
    """The input example in a model's files; None if there is none."""
    with contextlib.suppress(FileNotFoundError):
        return (model / EXAMPLE).read_bytes()
    return None


def probe(endpoint: Endpoint, example: bytes | None) -> str | None:
    """What is wrong at present; None if the service is ready. Raises ServiceFailed if it fails on the example."""
    try:
        status, _, _ = ask(endpoint, "GET", "/readyz", None, READY_SECONDS)
        if status != 200:
            return f"/readyz of {endpoint.address} answers {status}"
        if example is None:
            return None
        status, _, answer = ask(endpoint, "POST", "/invocations", example, SMOKE_SECONDS)
    except (OSError, http.client.HTTPException) as error:
        return f"{endpoint.address} does not answer: {str(error) or type(error).__name__}"
    if status in _PASSING:
        return f"{endpoint.address} is not ready for the model's own input example yet: {status}"
    if status != 200:
        raise ServiceFailed(f"the service answers the model's own input example with {status}: {_error(answer)}")
    return None


def is_alive(endpoint: Endpoint) -> bool:
    """Whether the service answers its liveness check in time."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        return ask(endpoint, "GET", "/livez", None, READY_SECONDS)[0] == 200
    return False


def hangs(endpoint: Endpoint) -> bool:
    """Whether the service accepts a request but does not answer it. False if it cannot be reached."""
    try:
        ask(endpoint, "GET", "/livez", None, LIVE_SECONDS)
    except TimeoutError:
        return True
    except (OSError, http.client.HTTPException):
        return False
    return False


def _error(answer: bytes) -> str:
    """The error message in an answer."""
    try:
        return str(json.loads(answer)["error"])
    except (ValueError, TypeError, LookupError):
        return answer[:300].decode(errors="replace")


def last_traceback(log: Path) -> str:
    """The last traceback in a service's log, starting on a new line; empty if there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    begins = [number for number, line in enumerate(lines) if line.startswith(_TRACEBACK)]
    if not begins:
        return ""
    ends = (number for number in range(begins[-1] + 1, len(lines)) if not lines[number].startswith(" "))
    traceback = lines[begins[-1] : next(ends, len(lines)) + 1]
    return "\n" + "\n".join([traceback[0], *traceback[1:][-_TRACEBACK_LINES:]])
