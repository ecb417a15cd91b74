"""Parses outcomes from JSON objects, and checks each field. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sluicegate.registry.words.errors import UsageError
from sluicegate.services.telemetry.outcomes.outcome import OutcomeIn

_OUTCOME_FIELDS = frozenset({"name", "value", "prediction_id", "model", "unit", "at", "id"})


def parse_outcome(position: int, item: dict[str, Any]) -> OutcomeIn:
    """The outcome at a position of a batch. Raises UsageError that names the object and the field."""
    where = f"outcomes[{position}]"
    unknown = set(item) - _OUTCOME_FIELDS
    if unknown:
        known = ", ".join(sorted(_OUTCOME_FIELDS))
        raise UsageError(f"{where}: unknown field {', '.join(sorted(unknown))}; known are {known}.")
    for name in ("name", "value"):
        if name not in item:
            raise UsageError(f"{where}: {name} is missing.")
    texts = {name: item.get(name) for name in ("name", "prediction_id", "model", "unit", "id")}
    for name, value in texts.items():
        if value is not None and not isinstance(value, str):
            raise UsageError(f"{where}.{name}: a text is required, got {value!r}.")
    return OutcomeIn(**{**texts, "value": item["value"], "at": _time(where, item.get("at"))})


def _time(where: str, text: object) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        raise UsageError(f"{where}.at: {text!r} is not an ISO 8601 time.", fix="2026-01-31T12:00:00Z") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
