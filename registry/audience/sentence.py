"""Sentence: a condition in words, for people: `state is 'New York' and age is a number from 18 to 65`. Pure."""

from __future__ import annotations

from sluicegate.registry.audience.audience import AllOf, AnyOf, Condition, Match, Not, Operator, Present, Range

_VERBS = {
    Operator.EXACT: ("is", "is not"),
    Operator.PREFIX: ("starts with", "does not start with"),
    Operator.SUFFIX: ("ends with", "does not end with"),
    Operator.CONTAINS: ("contains", "does not contain"),
    Operator.REGEX: ("matches", "does not match"),
}


def sentence(condition: Condition) -> str:
    """What a request's metadata must satisfy, in words."""
    match condition:
        case AllOf(conditions=()):
            return "everybody"
        case AnyOf(conditions=()):
            return "nobody"
        case AllOf(conditions=conditions):
            return " and ".join(_part(each) for each in conditions)
        case AnyOf(conditions=conditions):
            return " or ".join(_part(each) for each in conditions)
        case Not(condition=inner):
            return _negated(inner)
        case Match() | Present() | Range():
            return _simple(condition, is_negated=False)


def _negated(condition: Condition) -> str:
    match condition:
        case Not(condition=inner):
            return sentence(inner)
        case AllOf() | AnyOf():
            return f"not ({sentence(condition)})"
        case Match() | Present() | Range():
            return _simple(condition, is_negated=True)


def _part(condition: Condition) -> str:
    """One of several conditions, in brackets if it has several parts itself."""
    text = sentence(condition)
    has_parts = isinstance(condition, AllOf | AnyOf) and len(condition.conditions) > 1
    return f"({text})" if has_parts else text


def _simple(condition: Match | Present | Range, *, is_negated: bool) -> str:
    match condition:
        case Match(header=header, operator=operator, operands=operands):
            join = " nor " if is_negated else " or "
            return f"{header} {_VERBS[operator][is_negated]} {join.join(map(repr, operands))}"
        case Present(header=header):
            return f"{header} is {'not ' if is_negated else ''}sent"
        case Range(header=header, low=low, high=high):
            ends = [f"from {low:.15g}"] if low is not None else []
            ends += [f"{'to' if ends else 'up to'} {high:.15g}"] if high is not None else []
            return f"{header} is {'not ' if is_negated else ''}a number {' '.join(ends)}"
