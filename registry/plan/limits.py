"""Limits that do not depend on stable, for a rate or for a latency's quantile: `1%`, `300ms`. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer

from sluicegate.registry.words.units import format_duration, format_share, parse_duration, parse_share


@dataclass(frozen=True, kw_only=True)
class TimeLimit:
    """A duration that a latency's quantile must stay below."""

    seconds: float

    def __str__(self) -> str:
        return format_duration(self.seconds)


def _parsed(value: object) -> float | TimeLimit:
    if isinstance(value, TimeLimit):
        return value
    if isinstance(value, str) and value.strip().endswith("s"):
        seconds = parse_duration(value)
        if not 0 < seconds <= 600:
            raise ValueError(f"not a limit: {value!r}; write a time above 0s, at most 10m")
        return TimeLimit(seconds=seconds)
    try:
        share = parse_share(value)
    except ValueError:
        raise ValueError(
            f"not a limit: {value!r}; write a share such as 1%, or for a latency's quantile a time such as 300ms"
        ) from None
    if not 0 < share < 1:
        raise ValueError(f"not a limit: {value!r}; write a share above 0% and below 100%")
    return share


def limit_text(limit: float | TimeLimit) -> str:
    """The limit as users write it."""
    return str(limit) if isinstance(limit, TimeLimit) else format_share(limit)


Limit = Annotated[
    float | TimeLimit,
    BeforeValidator(_parsed, json_schema_input_type=str),
    PlainSerializer(limit_text, return_type=str),
    Field(description="a share such as 1%, or for a latency's quantile a duration such as 300ms"),
]
