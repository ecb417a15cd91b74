"""Whether a service is ready: it says so, and it answers the model's own example."""

from __future__ import annotations

import http.client
from pathlib import Path

READY_SECONDS = 2.0
SMOKE_SECONDS = 10.0


def probe(address: str, model: Path) -> str | None:
    """None when all is well, else what is wrong."""
    try:
        status, _ = _ask(address, "GET", "/readyz", None, READY_SECONDS)
        if status != 200:
            return f"/readyz of {address} answers {status}"
        example = model / "serving_input_example.json"
        if not example.exists():
            return None
        status, answer = _ask(address, "POST", "/invocations", example.read_bytes(), SMOKE_SECONDS)
    except (OSError, http.client.HTTPException) as error:
        return f"{address} does not answer: {str(error) or type(error).__name__}"
    if status != 200:
        return f"the model's own input example is answered with {status}: {answer[:300].decode(errors='replace')}"
    return None


def _ask(address: str, method: str, path: str, body: bytes | None, seconds: float) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(address, timeout=seconds)
    try:
        connection.request(method, path, body, {"content-type": "application/json"} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
