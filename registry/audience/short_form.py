"""Audiences in the short form that users write: `when: {state: New York, age: {from: 18, to: 65}}`. Pure.

    when:
      state: New York                     # exactly this text
      plan: [gold, silver]                # one of these
      age: {from: 18, to: 65}             # a number, both ends included; either may be left out
      email: {suffix: "@example.com"}     # exact, prefix, suffix, contains, regex: a text or several
      beta: {present: true}               # sent at all, empty or not
      city: {not: Boston}                 # any other value, or no such header
      not: {…}                            # a mapping of this form, negated
      any: [{…}, {…}]                     # at least one of these holds
      all: [{…}, {…}]                     # each of these holds
      header: {any: x}                    # literal names, for headers that are called not, any, all or header

All keys of one mapping must hold. Numbers and booleans are compared as they were written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sluicegate.registry.audience.audience import (
    AllOf,
    AnyOf,
    Audience,
    Condition,
    Match,
    Not,
    Operator,
    Present,
    Range,
)
from sluicegate.registry.audience.names import header_of, is_shallow, match_of, name_problem, number, range_of
from sluicegate.registry.words.digest import digest_of
from sluicegate.registry.words.errors import InvalidDocument
from sluicegate.registry.words.suggestions import suggestion
from sluicegate.registry.words.yaml_text import Path, Text

_KEYS = ("kind", "name", "description", "when")
_RANGE_KEYS = ("from", "to")
_EVERYBODY = "write the conditions; when: {} is everybody"


def read_audience_text(text: Text) -> Audience | None:
    """The audience of a text whose values are a mapping. If it has problems, notes them and returns None."""
    values, before = text.values, len(text.problems)
    assert isinstance(values, dict)
    for key in values.keys() - set(_KEYS):
        text.add((key,), f"unknown key {key}", suggestion(key, _KEYS))
    name, description = values.get("name"), values.get("description") or ""
    wrong = name_problem(name)
    if wrong is not None:
        text.add(("name",), wrong, "such as name: new-york", on_value="name" in values)
    if not isinstance(description, str):
        text.add(("description",), "a text is expected", "put it in quotes", on_value=True)
    if "when" not in values:
        text.add(("when",), "when is missing", _EVERYBODY)
    condition = _Reading(text).mapping(values.get("when", {}), ("when",))
    if condition is None or len(text.problems) > before or not is_shallow(text, condition, ("when",)):
        return None
    return Audience(name=str(name), description=str(description), condition=condition)


def audience_written(audience: Audience) -> dict[str, object]:
    """The audience in the short form, as JSON values. `read_audience_text` turns them back into an equal audience."""
    values: dict[str, object] = {"kind": "audience", "name": audience.name}
    if audience.description:
        values["description"] = audience.description
    return values | {"when": condition_written(audience.condition)}


def audience_digest(audience: Audience) -> str:
    """SHA-256 of the audience's canonical JSON. Two spellings of the same audience have the same digest."""
    return digest_of(audience_written(audience))


def audience_recorded(body: dict[str, object]) -> Audience:
    """Read an audience from the ledger."""
    text = Text(where="ledger", values=body)
    audience = read_audience_text(text)
    if audience is None:
        raise InvalidDocument(tuple(text.problems))
    return audience


def condition_written(condition: Condition) -> dict[str, object]:
    """The condition in the short form."""
    match condition:
        case Match(header=header, operator=Operator.EXACT, operands=operands):
            return _header(header, operands[0] if len(operands) == 1 else list(operands))
        case Match(header=header, operator=operator, operands=operands):
            return _header(header, {operator.value: operands[0] if len(operands) == 1 else list(operands)})
        case Present(header=header):
            return _header(header, {"present": True})
        case Range(header=header, low=low, high=high):
            ends = {"from": low, "to": high}
            return _header(header, {key: _whole(end) for key, end in ends.items() if end is not None})
        case Not(condition=inner):
            return {"not": condition_written(inner)}
        case AllOf(conditions=conditions):
            return {"all": [condition_written(each) for each in conditions]}
        case AnyOf(conditions=conditions):
            return {"any": [condition_written(each) for each in conditions]}


def _header(name: str, wanted: object) -> dict[str, object]:
    return {"header": {name: wanted}} if name in _Reading.WORDS else {name: wanted}


def _whole(end: float) -> float | int:
    return int(end) if end == int(end) else end


class _Reading:
    """Walks the conditions of one text. Each method notes a problem that it finds and returns None."""

    WORDS = ("not", "any", "all", "header")

    def __init__(self, text: Text) -> None:
        self._text = text

    def mapping(self, values: object, at: Path) -> Condition | None:
        """A condition that holds if every key of the mapping holds."""
        if not isinstance(values, dict):
            message = "expected a mapping from headers to the values that they must have"
            self._text.add(at, message, "such as {state: New York}", on_value=True)
            return None
        return _all([self._key(key, value, (*at, key)) for key, value in values.items()])

    def _key(self, key: str, value: object, at: Path) -> Condition | None:
        match key:
            case "not":
                inner = self.mapping(value, at)
                return Not(condition=inner) if inner else None
            case "any" | "all":
                return self._list(key, value, at)
            case "header":
                if not isinstance(value, dict):
                    self._text.add(at, "a mapping of header names is expected", "such as header: {any: x}")
                    return None
                return _all([self._named(name, each, (*at, name)) for name, each in value.items()])
            case _:
                return self._named(key, value, at)

    def _list(self, key: str, value: object, at: Path) -> Condition | None:
        if not isinstance(value, list):
            self._text.add(at, f"{key} is a list of mappings", f"such as {key}: [{{state: New York}}, {{age: 30}}]")
            return None
        inner = [self.mapping(each, (*at, position)) for position, each in enumerate(value)]
        if any(each is None for each in inner):
            return None
        conditions = tuple(each for each in inner if each is not None)
        return AnyOf(conditions=conditions) if key == "any" else AllOf(conditions=conditions)

    def _named(self, name: str, value: object, at: Path) -> Condition | None:
        header = header_of(self._text, name, at)
        return self._wanted(header, value, at) if header is not None else None

    def _wanted(self, header: str, value: object, at: Path) -> Condition | None:
        """What a header must be: a text, one of several, or a mapping of operators."""
        if not isinstance(value, dict):
            return match_of(self._text, header, Operator.EXACT, value, at)
        if not value:
            self._text.add(at, f"{header}: the condition is empty", "write the value that it must have", on_value=True)
            return None
        ends = {key: each for key, each in value.items() if key in _RANGE_KEYS}
        conditions = [self._range(header, ends, at)] if ends else []
        conditions += [self._operator(header, key, each, (*at, key)) for key, each in value.items() if key not in ends]
        return _all(conditions)

    def _operator(self, header: str, key: str, value: object, at: Path) -> Condition | None:
        known: Mapping[str, Callable[[], Condition | None]] = {
            **{each.value: lambda each=each: match_of(self._text, header, each, value, at) for each in Operator},  # type: ignore[misc]
            "in": lambda: match_of(self._text, header, Operator.EXACT, value, at),
            "present": lambda: self._present(header, value, at),
            "not": lambda: self._negated(header, value, at),
        }
        if key not in known:
            self._text.add(at, f"unknown operator {key}", suggestion(key, (*known, *_RANGE_KEYS)))
            return None
        return known[key]()

    def _present(self, header: str, value: object, at: Path) -> Condition | None:
        if not isinstance(value, bool):
            self._text.add(at, "true or false is expected", "present: true", on_value=True)
            return None
        return Present(header=header) if value else Not(condition=Present(header=header))

    def _negated(self, header: str, value: object, at: Path) -> Condition | None:
        inner = self._wanted(header, value, at)
        return Not(condition=inner) if inner else None

    def _range(self, header: str, ends: dict[str, Any], at: Path) -> Condition | None:
        numbers = {key: number(self._text, value, (*at, key)) for key, value in ends.items()}
        if any(end is None for end in numbers.values()):
            return None
        return range_of(self._text, header, numbers.get("from"), numbers.get("to"), at)


def _all(read: list[Condition | None]) -> Condition | None:
    """All of the conditions; a single one stays as it is; None if one of them had a problem."""
    conditions = tuple(each for each in read if each is not None)
    if len(conditions) < len(read):
        return None
    return conditions[0] if len(conditions) == 1 else AllOf(conditions=conditions)
