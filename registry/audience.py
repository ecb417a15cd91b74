"""Audience: who a request comes from, as conditions on its metadata. Pure.

Metadata are a request's headers: names without regard to case, values with. A header that is sent twice is one value,
joined by commas, as HTTP says. An empty value is present. A missing header matches nothing but a `Not`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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
    """The header is present and compares with at least one of the operands; several operands are an `in`."""

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
    """Every condition holds; none at all: true."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, kw_only=True)
class AnyOf:
    """At least one condition holds; none at all: false."""

    conditions: tuple[Condition, ...]


Condition = Match | Present | Range | Not | AllOf | AnyOf


@dataclass(frozen=True, kw_only=True)
class Audience:
    """A named group of requests, for any model."""

    name: str
    condition: Condition
    description: str = ""
