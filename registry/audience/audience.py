"""Audience: who a request comes from, as conditions on its metadata. Pure.

Metadata are a request's headers: names ignore case, values do not. A header that is sent twice is one value, joined by
commas, as HTTP says. An empty value is present. A missing header matches only a `Not`. Blanks around a value are
ignored. Values are compared byte by byte in UTF-8; bytes that are not UTF-8 become Python's surrogates.

A number is digits, optionally with a `-` before them and a point and more digits after them: `007` is 7. Other
spellings, such as `1e3`, `+5`, `.5`, `1,000` and `NaN`, are not numbers and lie in no range.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

if TYPE_CHECKING:
    import re2

NUMBER = "^-?[0-9]+([.][0-9]+)?$"
"""What counts as a number in a `Range`, in RE2."""
_NUMBER = re.compile(NUMBER.removesuffix("$") + r"\Z", re.ASCII)


class Operator(StrEnum):
    """How a header's value is compared with an operand."""

    EXACT = "exact"
    PREFIX = "prefix"
    SUFFIX = "suffix"
    CONTAINS = "contains"
    REGEX = "regex"
    """RE2, and the whole value must match."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """The header is present and matches at least one of the operands; several operands are an `in`."""

    header: str
    operator: Operator
    operands: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Present:
    """The header is present, empty or not."""

    header: str


@dataclass(frozen=True, kw_only=True)
class Range:
    """The header is a decimal number from `low` to `high`, both ends included; None: no end on that side."""

    header: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Not:
    """The condition does not hold."""

    condition: Condition


@dataclass(frozen=True, kw_only=True)
class AllOf:
    """Every condition holds; true if there are none."""

    conditions: Annotated[tuple[Condition, ...], Field(alias="all")]
    """The alias tells it from `AnyOf` in JSON."""


@dataclass(frozen=True, kw_only=True)
class AnyOf:
    """At least one condition holds; false if there are none."""

    conditions: Annotated[tuple[Condition, ...], Field(alias="any")]


Condition = Match | Present | Range | Not | AllOf | AnyOf


@dataclass(frozen=True, kw_only=True)
class Audience:
    """A named group of requests, for any model."""

    name: str
    condition: Condition
    description: str = ""


def matches(condition: Condition, metadata: Mapping[str, str]) -> bool:
    """Whether a request with these metadata meets the condition. The data plane decides the same."""
    return _meets(condition, headers(metadata.items()))


def headers(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Metadata as a request carries them: lower-case names, values without surrounding blanks, repeats joined."""
    joined: dict[str, str] = {}
    for name, value in pairs:
        key, text = name.lower(), value.strip(" \t")
        joined[key] = f"{joined[key]},{text}" if key in joined else text
    return joined


@lru_cache(maxsize=512)
def whole(pattern: str) -> re2._Regexp:
    """Compile a pattern that must match a whole value. Raises ValueError that says what is wrong with it."""
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
        return re2.compile(whole_pattern(pattern), options)
    except re2.error as error:
        reason = error.args[0]
        raise ValueError(reason.decode() if isinstance(reason, bytes) else str(reason)) from None


def whole_pattern(pattern: str) -> str:
    """The pattern, anchored at both ends."""
    return f"^(?:{pattern})$"


def _meets(condition: Condition, metadata: Mapping[str, str]) -> bool:
    match condition:
        case Match(header=header, operator=operator, operands=operands):
            value = metadata.get(header.lower())
            return value is not None and any(_compares(operator, value, operand) for operand in operands)
        case Present(header=header):
            return header.lower() in metadata
        case Range(header=header, low=low, high=high):
            return _within(metadata.get(header.lower()), low, high)
        case Not(condition=inner):
            return not _meets(inner, metadata)
        case AllOf(conditions=conditions):
            return all(_meets(each, metadata) for each in conditions)
        case AnyOf(conditions=conditions):
            return any(_meets(each, metadata) for each in conditions)


def _compares(operator: Operator, value: str, operand: str) -> bool:
    match operator:
        case Operator.EXACT:
            return value == operand
        case Operator.PREFIX:
            return value.startswith(operand)
        case Operator.SUFFIX:
            return value.endswith(operand)
        case Operator.CONTAINS:
            return operand in value
        case Operator.REGEX:
            return whole(operand).search(value.encode("utf-8", "surrogateescape")) is not None


def _within(value: str | None, low: float | None, high: float | None) -> bool:
    if value is None or not _NUMBER.match(value):
        return False
    number = float(value)
    return (low is None or number >= float(low)) and (high is None or number <= float(high))
