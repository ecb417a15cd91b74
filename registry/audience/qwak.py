"""Audiences in the YAML of Qwak (JFrog ML): `api_version: v1`, `spec.audiences[]`, unary and binary conditions. Pure.

Keys may be in snake or camel case; operators long (UNARY_OPERATOR_TYPE_EXACT_MATCH) or short (EXACT), in any case. All
conditions of an audience must hold; an audience without conditions is everybody. Qwak's `id` is not needed: the name
identifies an audience, and an audience that has only an id is named by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sluicegate.registry.audience.audience import AllOf, Audience, Condition, Not, Operator, Present
from sluicegate.registry.audience.names import as_text, header_of, match_of, name_problem, number, range_of
from sluicegate.registry.words.suggestions import suggestion
from sluicegate.registry.words.yaml_text import Path, Text

VERSION = "v1"
PRESENT = "present"
_UNARY = {
    "exact": Operator.EXACT, "prefix": Operator.PREFIX, "suffix": Operator.SUFFIX, "contains": Operator.CONTAINS,
    "saferegex": Operator.REGEX, "regex": Operator.REGEX,
}  # fmt: skip
_ELSEWHERE = {"range": "write it under binary", **dict.fromkeys((*_UNARY, PRESENT), "write it under unary")}
_DOCUMENT = ("api_version", "spec")
_AUDIENCE = ("id", "name", "description", "conditions", "routes")
_CONDITIONS = ("unary", "binary")
_UNARY_KEYS = ("key", "operator", "operand", "invert")
_BINARY_KEYS = ("key", "operator", "first_operand", "second_operand", "invert")
_ROUTE = (
    "variation_name", "weight", "shadow", "model_id", "environment_id", "audience_id", "request_timeout_ms",
)  # fmt: skip


Fields = dict[str, tuple[Any, Path]]
"""Values by key in snake case, each with its place."""


@dataclass(frozen=True, kw_only=True)
class QwakRoute:
    """A variation that an audience is sent to. Qwak keeps these with the conditions."""

    variation: str
    weight: int
    shadow: bool = False
    model: str | None = None


@dataclass(frozen=True, kw_only=True)
class QwakAudience:
    """An audience of a Qwak file, its place in the file, and its routes."""

    at: Path
    audience: Audience
    routes: tuple[QwakRoute, ...] = ()
    has_conditions: bool = True
    """Whether the file defines who belongs to it."""


def is_qwak(values: object) -> bool:
    """Whether a document has Qwak's form rather than ours."""
    return isinstance(values, dict) and "kind" not in values and bool({_snake(key) for key in values} & {*_DOCUMENT})


def read_qwak(text: Text) -> tuple[QwakAudience, ...]:
    """Read the audiences of a Qwak text. Problems are noted in the text."""
    reading = Reading(text)
    document = reading.mapping(text.values, (), _DOCUMENT)
    version = document.get("api_version", (VERSION, ()))
    if version[0] != VERSION:
        text.add(version[1], f"there is no version {version[0]!r}", f"write api_version: {VERSION}", on_value=True)
    if "spec" not in document:
        text.add((), "spec is missing", "write spec: and under it audiences:")
        return ()
    spec = reading.mapping(*document["spec"], ("audiences",))
    if "audiences" not in spec:
        text.add(document["spec"][1], "audiences is missing", "write audiences: and a list under it")
        return ()
    read = (reading.audience(value, at) for value, at in reading.items(*spec["audiences"]))
    return tuple(audience for audience in read if audience is not None)


class Reading:
    """Walks one Qwak document. Parts with a problem are noted and left out."""

    def __init__(self, text: Text) -> None:
        self._text = text

    def mapping(self, values: object, at: Path, known: tuple[str, ...]) -> Fields:
        """The known keys of a mapping in snake case, each with its value and place."""
        if not isinstance(values, dict):
            self._text.add(at, "a mapping is expected", f"known keys are {', '.join(known)}", on_value=True)
            return {}
        fields = {}
        for key, value in values.items():
            if _snake(key) in known:
                fields[_snake(key)] = (value, (*at, key))
            else:
                self._text.add((*at, key), f"unknown key {key}", suggestion(_snake(key), known))
        return fields

    def items(self, values: object, at: Path) -> Iterator[tuple[Any, Path]]:
        """The items of a list, each with its place. A key without a value is an empty list."""
        if values is not None and not isinstance(values, list):
            self._text.add(at, "a list is expected", "begin each item with a dash", on_value=True)
            return
        for position, value in enumerate(values or ()):
            yield value, (*at, position)

    def audience(self, values: object, at: Path) -> QwakAudience | None:
        before = len(self._text.problems)
        fields = self.mapping(values, at, _AUDIENCE)
        name, name_at = fields.get("name") or fields.get("id") or (None, (*at, "name"))
        wrong = name_problem(name)
        if wrong is not None and isinstance(values, dict):
            self._text.add(name_at, wrong, "such as name: new-york", on_value="name" in fields)
        description, description_at = fields.get("description", ("", at))
        if not isinstance(description, str | None):
            self._text.add(description_at, "a text is expected", "put it in quotes", on_value=True)
        conditions = tuple(self._conditions(fields))
        routes = tuple(self._routes(fields))
        if len(self._text.problems) > before or not isinstance(name, str):
            return None
        condition = conditions[0] if len(conditions) == 1 else AllOf(conditions=conditions)
        return QwakAudience(
            at=at, routes=routes, has_conditions="conditions" in fields,
            audience=Audience(name=name, description=description or "", condition=condition),
        )  # fmt: skip

    def _conditions(self, fields: Fields) -> Iterator[Condition]:
        values, at = fields.get("conditions", ({}, ()))
        groups = self.mapping(values or {}, at, _CONDITIONS)
        for value, place in self.items(*groups.get("unary", (None, at))):
            yield from self._unary(self.mapping(value, place, _UNARY_KEYS), place)
        for value, place in self.items(*groups.get("binary", (None, at))):
            yield from self._binary(self.mapping(value, place, _BINARY_KEYS), place)

    def _unary(self, fields: Fields, at: Path) -> Iterator[Condition]:
        header, word = self._header(fields, at), self._operator(fields, at, (*_UNARY, PRESENT))
        if header is None or word is None:
            return
        if word == PRESENT:
            yield from self._inverted(fields, self._present(header, fields))
            return
        if "operand" not in fields:
            self._text.add(at, "operand is missing", "write operand: and the text to compare with")
            return
        condition = match_of(self._text, header, _UNARY[word], *fields["operand"])
        if condition is not None:
            yield from self._inverted(fields, condition)

    def _present(self, header: str, fields: Fields) -> Condition:
        value, place = fields.get("operand", ("", ()))
        if (as_text(self._text, value, place) or "").lower() == "false":
            message = "operand: false does not say whether the key must be missing"
            self._text.add(place, message, "leave out the operand, or write invert: true", on_value=True)
        return Present(header=header)

    def _binary(self, fields: Fields, at: Path) -> Iterator[Condition]:
        header, word = self._header(fields, at), self._operator(fields, at, ("range",))
        ends = [self._end(fields, name, at) for name in ("first_operand", "second_operand")]
        if header is None or word is None or ends[0] is None or ends[1] is None:
            return
        condition = range_of(self._text, header, ends[0], ends[1], fields["first_operand"][1])
        if condition is not None:
            yield from self._inverted(fields, condition)

    def _end(self, fields: Fields, name: str, at: Path) -> float | None:
        if name not in fields:
            self._text.add(at, f"{name} is missing", f"write {name}: and a number")
            return None
        return number(self._text, *fields[name])

    def _header(self, fields: Fields, at: Path) -> str | None:
        if "key" not in fields:
            self._text.add(at, "key is missing", "write key: and the name of a header")
            return None
        return header_of(self._text, *fields["key"], on_value=True)

    def _operator(self, fields: Fields, at: Path, known: tuple[str, ...]) -> str | None:
        if "operator" not in fields:
            self._text.add(at, "operator is missing", f"write operator: one of {', '.join(known)}")
            return None
        value, place = fields["operator"]
        word = _plain(value)
        if word in known:
            return word
        fix = _ELSEWHERE.get(word) or suggestion(word, known)
        self._text.add(place, f"there is no operator {value!r} here", fix, on_value=True)
        return None

    def _inverted(self, fields: Fields, condition: Condition) -> Iterator[Condition]:
        value, place = fields.get("invert", (False, ()))
        if not isinstance(value, bool):
            self._text.add(place, "true or false is expected", "invert: true", on_value=True)
            return
        yield Not(condition=condition) if value else condition

    def _routes(self, fields: Fields) -> Iterator[QwakRoute]:
        for value, at in self.items(*fields.get("routes", (None, ()))):
            route = self.mapping(value, at, _ROUTE)
            variation, place = route.get("variation_name", (None, at))
            if not isinstance(variation, str) or not variation:
                self._text.add(place, "variation_name is missing", "write variation_name: and a name")
                continue
            weight, place = route.get("weight", (None, at))
            if not isinstance(weight, int) or isinstance(weight, bool) or weight < 0:
                self._text.add(place, "weight is a whole number from 0", "such as weight: 50", on_value=True)
                continue
            shadow, place = route.get("shadow", (False, at))
            if not isinstance(shadow, bool):
                self._text.add(place, "true or false is expected", "shadow: true", on_value=True)
                continue
            model = route.get("model_id", (None, ()))[0]
            yield QwakRoute(variation=variation, weight=weight, shadow=shadow, model=model or None)


def _snake(key: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", key).lower()


def _plain(operator: object) -> str:
    """The operator in one spelling: saferegex for `UNARY_OPERATOR_TYPE_SAFE_REGEX_MATCH`, `SafeRegex`, `safe-regex`."""
    letters = re.sub(r"[^a-z]", "", str(operator).lower())
    return re.sub(r"^(?:unary|binary)?(?:operator)?(?:type)?", "", letters).removesuffix("match")
