"""Outcomes as values: what was measured after a prediction, where it stands, what became of a batch. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sluicegate.services.telemetry.tally.scores import Value


class State(StrEnum):
    """Where an outcome stands. The last seven are final."""

    NEW = "new"
    """Names its prediction, which has not been looked for."""
    UNIT = "unit"
    """Names a unit; waits until every request before it has been read."""
    WAITING = "waiting"
    """Its exposure has not been read."""
    UNJUDGED = "unjudged"
    """Its exposure's rollout is not known yet."""
    SCORED = "scored"
    UNNAMED = "unnamed"
    UNCOMPARED = "uncompared"
    UNKNOWN = "unknown"
    UNASKED = "unasked"
    """Its request was not kept: no plan asks for outcomes of its model."""
    TOO_LATE = "too_late"
    """Its request has gone by age."""
    SUPERFLUOUS = "superfluous"
    """The unit's last request has an outcome of this name already."""


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
    """When it happened, aware; by default when it is received."""
    id: str | None = None
    """Makes sending twice harmless; by default what it is about, its name and, for a unit, its time."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """An outcome that was not taken in."""

    index: int
    """Its place in the batch, from 0."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What became of a batch. Everything accepted is durable."""

    accepted: int
    duplicate: int
    contradictory: int
    waiting: int | None = None
    """Of a few outcomes: how many name a prediction of which the log has told nothing yet. Of many: not looked at."""
    unasked: tuple[str, ...] = ()
    """Models of the batch whose requests are not kept, because no plan asks for their outcomes."""
    refused: tuple[Refusal, ...]


def read_value(text: str) -> Value:
    """The value that a row of the table holds."""
    value: Value = json.loads(text)
    return value


def microseconds(at: datetime) -> int:
    """Microseconds since 1970."""
    return round(at.timestamp() * 1e6)
