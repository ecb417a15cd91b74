"""Whether a service is ready: it says so, and it answers the model's own example."""

from __future__ import annotations

import http.client
from pathlib import Path

LOAD_FAILED = "the model cannot be loaded: "
"""What the predictor writes to its log, followed by the reason."""
READY_SECONDS = 2.0
SMOKE_SECONDS = 10.0
_LOG_BYTES = 1 << 20


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


def load_failures(log: Path, offset: int) -> list[str]:
    """Why the model could not be loaded, once for each time that a worker tried since `offset`."""
    try:
        with log.open("rb") as file:
            file.seek(offset if offset <= log.stat().st_size else 0)
            text = file.read(_LOG_BYTES).decode(errors="replace")
    except OSError:
        return []
    return [line.partition(LOAD_FAILED)[2] for line in text.splitlines() if LOAD_FAILED in line]


def _ask(address: str, method: str, path: str, body: bytes | None, seconds: float) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(address, timeout=seconds)
    try:
        connection.request(method, path, body, {"content-type": "application/json"} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
