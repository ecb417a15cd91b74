"""HTTP: reads a number, and optionally its time, from a JSON response by JSON pointers."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from jsonpointer import JsonPointerException, resolve_pointer

from sluicegate.registry.plan.external import HttpValue
from sluicegate.registry.words.sample import Measured
from sluicegate.services.sources.get import get
from sluicegate.services.sources.no_number import NoNumber, finite
from sluicegate.services.sources.source import ExternalSource


def ask_http(source: ExternalSource, wanted: HttpValue, path: str, seconds: float) -> Measured:
    """The number in the response. Raises NoNumber."""
    answer = get(source, path, seconds)
    if not answer.is_success:
        raise NoNumber(f"it answers {answer.status_code}")
    try:
        document = json.loads(answer.content)
    except (ValueError, RecursionError):
        raise NoNumber("its answer is not JSON") from None
    value = _number(_at(document, wanted.value), wanted.value)
    return Measured(value=value, at=None if wanted.at is None else _time(_at(document, wanted.at), wanted.at))


def _at(document: object, pointer: str) -> object:
    try:
        return resolve_pointer(document, pointer)
    except (JsonPointerException, TypeError):
        raise NoNumber(f"its answer has no value at {pointer}") from None


def _number(value: object, pointer: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NoNumber(f"the value at {pointer} is not a number: {json.dumps(value)[:60]}")
    try:
        return finite(float(value))
    except OverflowError:
        raise NoNumber(f"the number at {pointer} is too large") from None


def _time(value: object, pointer: str) -> datetime:
    try:
        if isinstance(value, str):
            at = datetime.fromisoformat(value)
            return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise NoNumber(f"the value at {pointer} is not a time: {json.dumps(value)[:60]}")
