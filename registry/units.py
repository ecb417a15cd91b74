"""Percentages and durations as people write them: `5%`, `10m`. Pure; pydantic types for documents."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?\Z")
_SCALE = (86_400.0, 3_600.0, 60.0, 1.0, 0.001)


def parse_duration(value: object) -> float:
    """Seconds of a duration such as `90s`, `10m`, `1h30m`, `3d`, `250ms`."""
    match = _DURATION.match(value.strip()) if isinstance(value, str) else None
    if match is None or not any(match.groups()):
        raise ValueError(f"not a duration: {value!r}; write a number and a unit, such as 30s, 10m, 3h or 2d")
    return sum(float(part) * scale for part, scale in zip(match.groups(), _SCALE, strict=True) if part)


def format_duration(seconds: float) -> str:
    """The shortest form that `parse_duration` reads back."""
    whole, millis = divmod(round(seconds * 1000), 1000)
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, whole = divmod(whole, size)
        parts.append(f"{count}{unit}" if count else "")
    parts.append(f"{millis}ms" if millis else "")
    return "".join(parts) or "0s"


def parse_share(value: object) -> float:
    """The fraction of a share written with its per cent sign, such as `5%` or `0.5%`."""
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            return float(value.strip()[:-1]) / 100
        except ValueError:
            pass
    raise ValueError(f"not a percentage: {value!r}; write it with its sign, such as 5% or 0.5%")


def format_share(fraction: float) -> str:
    return f"{round(fraction * 100, 10):g}%"


def parse_weight(value: object) -> int:
    """Basis points of a weight in per cent, such as `10`, `0.5` or `10%`."""
    text = value.strip().removesuffix("%") if isinstance(value, str) else value
    try:
        points = round(float(text) * 100, 6) if not isinstance(text, bool) else None  # type: ignore[arg-type]
    except (TypeError, ValueError):
        points = None
    if points is None or points != int(points) or not 0 < points <= 10_000:
        raise ValueError(f"not a weight: {value!r}; write per cent between 0.01 and 100, in steps of 0.01")
    return int(points)


def format_weight(points: int) -> str:
    """Basis points as per cent without a sign: 2500 -> `25`, 50 -> `0.5`."""
    return f"{points / 100:g}"


def _number(text: str) -> float | int:
    value = float(text)
    return int(value) if value == int(value) else value


Duration = Annotated[
    float,
    BeforeValidator(parse_duration, json_schema_input_type=str),
    PlainSerializer(format_duration, return_type=str),
    Field(description="a duration such as 30s, 10m, 3h, 2d"),
]
Share = Annotated[
    float,
    BeforeValidator(parse_share, json_schema_input_type=str),
    PlainSerializer(format_share, return_type=str),
    Field(description="a share with its per cent sign, such as 5%"),
]
Weight = Annotated[
    int,
    BeforeValidator(parse_weight, json_schema_input_type=float | str),
    PlainSerializer(lambda points: _number(format_weight(points)), return_type=float | int),
    Field(description="the candidate's share of requests in per cent"),
]
