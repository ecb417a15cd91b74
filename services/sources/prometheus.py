"""Prometheus: runs an instant query through the HTTP API and reads its single number."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sluicegate.registry.words.sample import Measured
from sluicegate.services.sources.get import get
from sluicegate.services.sources.no_number import NoNumber, finite
from sluicegate.services.sources.source import ExternalSource


def ask_prometheus(source: ExternalSource, query: str, seconds: float) -> Measured:
    """The value of the single series, with the time at which Prometheus evaluated it. Raises NoNumber."""
    answer = get(source, "/api/v1/query", seconds, {"query": query, "timeout": f"{seconds:g}s"})
    try:
        document = json.loads(answer.content)
    except (ValueError, RecursionError):
        raise NoNumber(f"it answers {answer.status_code} with something other than JSON") from None
    if not isinstance(document, dict) or document.get("status") != "success" or not answer.is_success:
        error = document.get("error") if isinstance(document, dict) else None
        raise NoNumber(f"it answers {answer.status_code}: {error or 'no reason given'}")
    return _point(document.get("data"))


def _point(data: Any) -> Measured:
    kind = data.get("resultType") if isinstance(data, dict) else None
    match data:
        case {"resultType": "vector", "result": []}:
            raise NoNumber("no series matches the query")
        case {"resultType": "vector", "result": [{"value": point}]} | {"resultType": "scalar", "result": point}:
            return _measured(point)
        case {"resultType": "vector", "result": [_, _, *_] as series}:
            raise NoNumber(f"{len(series)} series match the query, but a gate needs one: write sum(…) or max(…)")
        case _:
            raise NoNumber(f"its answer is of the type {kind or 'unknown'}, but a gate needs a number")


def _measured(point: object) -> Measured:
    if not isinstance(point, list) or len(point) != 2:
        raise NoNumber("its value is not a number")
    try:
        return Measured(value=finite(float(point[1])), at=datetime.fromtimestamp(point[0], UTC))
    except (TypeError, ValueError, OverflowError, OSError):
        raise NoNumber("its value is not a number") from None
