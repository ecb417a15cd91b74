"""Overlap: a request that two audiences would both match, if one is found. Pure.

The search tries values that the conditions name, and values next to them. A request that is found is real. Finding none
proves nothing if a condition matches patterns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice, product

from sluicegate.registry.audience.audience import (
    AllOf,
    AnyOf,
    Condition,
    Match,
    Not,
    Operator,
    Present,
    Range,
    matches,
)

MOST = 4_000
"""How many requests are tried at most."""
_OTHER = "another"
"""A value that no condition names."""


def shared_request(first: Condition, second: Condition) -> Mapping[str, str] | None:
    """The metadata of a request that both conditions match, with few headers; None if none was found."""
    values: dict[str, list[str | None]] = {}
    for header, value in (*_values(first), *_values(second)):
        its = values.setdefault(header.lower(), [None, _OTHER])
        its += [value] if value not in its else []
    for values_ in values.values():
        values_ += [value for value in _joined(values_) if value not in values_]
    for chosen in islice(product(*values.values()), MOST):
        metadata = {header: value for header, value in zip(values, chosen, strict=True) if value is not None}
        if matches(first, metadata) and matches(second, metadata):
            return metadata
    return None


def _values(condition: Condition) -> Iterator[tuple[str, str]]:
    """Values on which a condition depends, with their header."""
    match condition:
        case AllOf(conditions=conditions) | AnyOf(conditions=conditions):
            for each in conditions:
                yield from _values(each)
        case Not(condition=inner):
            yield from _values(inner)
        case Match(header=header, operator=operator, operands=operands):
            yield from ((header, operand) for operand in operands if operator is not Operator.REGEX)
        case Present(header=header):
            yield header, _OTHER
        case Range(header=header, low=low, high=high):
            ends = [end for end in (low, high) if end is not None]
            yield from ((header, f"{end:.15g}") for end in (*ends, *(end + step for end in ends for step in (-1, 1))))


def _joined(values: list[str | None]) -> list[str]:
    """Values that begin with one known value and end with another."""
    known = [value for value in values if value not in (None, _OTHER)]
    return [f"{start}{end}" for start in known for end in known if start != end]
