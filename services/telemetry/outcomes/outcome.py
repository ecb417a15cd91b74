"""Outcomes as values: an outcome, its state, and the receipt for a batch. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sluicegate.services.telemetry.tally.scores import Value


class State(StrEnum):
    """The state of an outcome. The last seven are final."""

    NEW = "new"
    """It names its prediction, which has not been looked up yet."""
    UNIT = "unit"
    """It names a unit, and waits until every request before it has been read."""
    WAITING = "waiting"
    """Its exposure has not been read yet."""
    UNJUDGED = "unjudged"
    """The metrics of its exposure's rollout are not known yet."""
    SCORED = "scored"
    UNNAMED = "unnamed"
    UNCOMPARED = "uncompared"
    UNKNOWN = "unknown"
    UNASKED = "unasked"
    """Its request was not kept, because no plan asks for outcomes of its model."""
    TOO_LATE = "too_late"
    """Its request was deleted by age."""
    SUPERFLUOUS = "superfluous"
    """The unit's last request already has an outcome with this name."""


OPEN = (State.NEW, State.UNIT, State.WAITING, State.UNJUDGED)


@dataclass(frozen=True, kw_only=True)
class OutcomeIn:
    """An outcome as it arrives: a prediction id, or a model and a unit; a name and a value."""

    name: str
    value: Value
    prediction_id: str | None = None
    model: str | None = None
    unit: str | None = None
    at: datetime | None = None
    """When it happened, timezone-aware; by default the time of receipt."""
    id: str | None = None
    """Makes sending it twice harmless. By default made from its prediction or unit, its name and, for a unit, its
    time."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """An outcome that was refused."""

    index: int
    """Its position in the batch, from 0."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The result of taking in a batch. Everything accepted is durable."""

    accepted: int
    duplicate: int
    contradictory: int
    waiting: int | None = None
    """For a small batch: how many name a prediction that has not been read from the log yet. Otherwise None."""
    unasked: tuple[str, ...] = ()
    """Models in the batch whose requests are not kept, because no plan asks for their outcomes."""
    refused: tuple[Refusal, ...]


def read_value(text: str) -> Value:
    """The value in a row of the table."""
    value: Value = json.loads(text)
    return value


def microseconds(at: datetime) -> int:
    """Microseconds since 1970."""
    return round(at.timestamp() * 1e6)
