"""Percentages, durations and sizes as users write them: `5%`, `10m`, `2GiB`. Pure; pydantic types for documents."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer

FULL = 10_000
"""All traffic, in basis points."""
_DURATION = re.compile(
    r"(?:([0-9]{1,9})d)?(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m(?!s))?(?:([0-9]{1,9}(?:\.[0-9]{1,9})?)s)?(?:([0-9]{1,9})ms)?\Z"
)
_MEMORY = re.compile(r"([0-9]{1,6}) ?(MiB|GiB)\Z")
_MEMORY_UNITS = {"MiB": 2**20, "GiB": 2**30}
_LEAST_MEMORY, _MOST_MEMORY = 2**28, 2**42
_RATE = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,2})?)/s\Z")
_MOST_A_SECOND = 1_000
_SCALE = (86_400_000, 3_600_000, 60_000, 1_000, 1)
_WEIGHT = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,6})?\Z")
_PER_CENT = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,10})?)%\Z")


def parse_duration(value: object) -> float:
    """Seconds of a duration such as `90s`, `10m`, `1h30m`, `3d`, `250ms`; whole milliseconds."""
    match = _DURATION.match(value.strip()) if isinstance(value, str) else None
    if match is None or not any(match.groups()):
        raise ValueError(f"not a duration: {value!r}; write a number and a unit, such as 30s, 10m, 3h or 2d")
    millis = sum(float(part) * scale for part, scale in zip(match.groups(), _SCALE, strict=True) if part)
    if abs(millis - round(millis)) > 1e-6:
        raise ValueError(f"not a duration: {value!r} is finer than a millisecond; write whole milliseconds")
    return round(millis) / 1000


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
    match = _PER_CENT.match(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"not a percentage: {value!r}; write it with its sign, such as 5% or 0.5%")
    return float(match.group(1)) / 100


def format_share(fraction: float) -> str:
    """The form that `parse_share` reads."""
    return f"{fraction * 100:.10f}".rstrip("0").rstrip(".") + "%"


def parse_weight(value: object) -> int:
    """Basis points of a weight in per cent, such as `10`, `0.5` or `10%`."""
    text = str(value).strip().removesuffix("%") if isinstance(value, str | int | float) else ""
    points = round(float(text) * 100, 6) if _WEIGHT.match(text) else 0.0
    if points != int(points) or not 0 < points <= 10_000:
        raise ValueError(f"not a weight: {value!r}; write per cent between 0.01 and 100, in steps of 0.01")
    return int(points)


def format_weight(points: int) -> str:
    """Basis points as per cent without a sign: 2500 -> `25`, 50 -> `0.5`."""
    return f"{points / 100:g}"


def parse_memory(value: object) -> int:
    """Bytes of a size such as `512MiB` or `2GiB`."""
    match = _MEMORY.match(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"not a size: {value!r}; write whole MiB or GiB, such as 512MiB or 2GiB")
    size = int(match.group(1)) * _MEMORY_UNITS[match.group(2)]
    if not _LEAST_MEMORY <= size <= _MOST_MEMORY:
        least, most = format_memory(_LEAST_MEMORY), format_memory(_MOST_MEMORY)
        raise ValueError(f"{value!r} is not from {least} to {most}")
    return size


def format_memory(size: int) -> str:
    """The shortest form that `parse_memory` reads back."""
    return f"{size >> 30}GiB" if size % 2**30 == 0 else f"{size >> 20}MiB"


def parse_rate(value: object) -> float:
    """Requests a second of a rate such as `20/s` or `0.5/s`."""
    match = _RATE.match(value.strip()) if isinstance(value, str) else None
    if match is None or not 0 < float(match.group(1)) <= _MOST_A_SECOND:
        raise ValueError(f"not a rate: {value!r}; write requests a second, above 0 and up to 1000/s, such as 20/s")
    return float(match.group(1))


def format_rate(rate: float) -> str:
    """The form that `parse_rate` reads."""
    return f"{rate:g}/s"


def _number(text: str) -> float | int:
    value = float(text)
    return int(value) if value == int(value) else value


Rate = Annotated[
    float,
    BeforeValidator(parse_rate, json_schema_input_type=str),
    PlainSerializer(format_rate, return_type=str),
    Field(description="requests a second, such as 20/s or 0.5/s"),
]
Duration = Annotated[
    float,
    BeforeValidator(parse_duration, json_schema_input_type=str),
    PlainSerializer(format_duration, return_type=str),
    Field(le=366 * 86_400, description="a duration such as 30s, 10m, 3h, 2d"),
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
Memory = Annotated[
    int,
    BeforeValidator(parse_memory, json_schema_input_type=str),
    PlainSerializer(format_memory, return_type=str),
    Field(description="a size such as 512MiB or 2GiB"),
]
