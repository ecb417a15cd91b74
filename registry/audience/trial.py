"""Trial: what a request with certain metadata would get, and why. `explain` words the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sluicegate.registry.audience.audience import (
    AllOf,
    AnyOf,
    Condition,
    Match,
    Not,
    Operator,
    Present,
    Range,
    headers,
    matches,
)


@dataclass(frozen=True, kw_only=True)
class Considered:
    """An audience that was tried for a request."""

    audience: str
    takes: bool
    why: str


@dataclass(frozen=True, kw_only=True)
class Part:
    """A build that requests of an audience get, and its share of them in per cent."""

    variation: str
    build: str
    arm: str
    share: float


@dataclass(frozen=True, kw_only=True)
class Slot:
    """What this unit gets."""

    variation: str
    build: str
    arm: str
    slot: int
    """One of 10,000."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Which audience a request belongs to, and what it gets."""

    model: str
    audience: str
    considered: tuple[Considered, ...]
    """The audiences in the order in which they are tried, up to the one that matches."""
    parts: tuple[Part, ...]
    unit_header: str | None
    """The header that is hashed; None: every request is assigned at random."""
    slot: Slot | None
    """None: the request has no unit, so each request is assigned at random."""


def explain(condition: Condition, metadata: Mapping[str, str]) -> str:
    """Why a request with these metadata meets the condition, or why not."""
    return _why(condition, headers(metadata.items()))


def _why(condition: Condition, metadata: Mapping[str, str]) -> str:
    match condition:
        case AllOf(conditions=()):
            return "everybody"
        case AnyOf(conditions=()):
            return "nobody"
        case AllOf(conditions=conditions):
            failed = [each for each in conditions if not matches(each, metadata)]
            return _why(failed[0], metadata) if failed else ", ".join(_why(each, metadata) for each in conditions)
        case AnyOf(conditions=conditions):
            met = [each for each in conditions if matches(each, metadata)]
            return _why(met[0], metadata) if met else ", ".join(_why(each, metadata) for each in conditions)
        case Not(condition=inner):
            return _why(inner, metadata)
        case Match(header=header) | Present(header=header) | Range(header=header):
            value = f"{header} is {metadata[header]!r}" if header in metadata else f"{header} is not sent"
            return value if matches(condition, metadata) else f"{value}, not {_wanted(condition)}"


def _wanted(condition: Match | Present | Range) -> str:
    match condition:
        case Present():
            return "whatever it may be"
        case Range(low=None, high=high):
            return f"a number up to {high:g}"
        case Range(low=low, high=None):
            return f"a number from {low:g}"
        case Range(low=low, high=high):
            return f"a number from {low:g} to {high:g}"
        case Match(operator=Operator.EXACT, operands=operands):
            return " or ".join(repr(operand) for operand in operands)
        case Match(operator=operator, operands=operands):
            return f"{operator} " + " or ".join(repr(operand) for operand in operands)
