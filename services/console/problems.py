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


def problem(error: SluiceError) -> Response:
    """The answer that tells a caller of an error."""
    status, text = told(error)
    return Response(text, status_code=status, media_type="application/problem+json")


def told(error: SluiceError) -> tuple[int, str]:
    """Status and body."""
    status = _status(error)
    body: dict[str, object] = {"title": type(error).__name__, "detail": error.message, "status": status}
    if error.fix:
        body["fix"] = error.fix
    if isinstance(error, InvalidDocument):
        body["errors"] = [asdict(found) for found in error.problems]
    return status, json.dumps(body)


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
