"""Problems: errors as RFC 9457 documents."""

from __future__ import annotations

import json
from dataclasses import asdict

from starlette.responses import Response

from sluicegate.registry.words.errors import (
    Forbidden,
    InvalidDocument,
    NotFound,
    PreconditionFailed,
    Refused,
    SluiceError,
    Unreachable,
    UsageError,
)

RETRY_AFTER = "5"
"""Seconds after which a client may repeat a call that got 503."""


def problem(error: SluiceError) -> Response:
    """The response for an error."""
    return json_response(*problem_document(error))


def json_response(status: int, value: object) -> Response:
    """A response with an answer or a problem as JSON."""
    kind = "application/json" if status < 400 else "application/problem+json"
    headers = {"retry-after": RETRY_AFTER} if status == 503 else None
    return Response(json.dumps(value), status_code=status, media_type=kind, headers=headers)


def problem_document(error: SluiceError) -> tuple[int, dict[str, object]]:
    """Status and document of an error."""
    status = _status(error)
    body: dict[str, object] = {"title": type(error).__name__, "detail": error.message, "status": status}
    if error.fix:
        body["fix"] = error.fix
    if isinstance(error, InvalidDocument):
        body["errors"] = [asdict(one) for one in error.problems]
    return status, body


def _status(error: SluiceError) -> int:
    match error:
        case UsageError():
            return 422
        case NotFound():
            return 404
        case Forbidden():
            return 403
        case PreconditionFailed():
            return 412
        case Refused():
            return 409
        case Unreachable():
            return 503
        case _:
            return 500
