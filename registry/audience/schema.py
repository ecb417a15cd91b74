"""The JSON Schema of an audience in the short form, for editors: it describes what `short_form` reads. Pure."""

from __future__ import annotations

from typing import Any

from sluicegate.registry.audience.audience import Operator
from sluicegate.registry.audience.names import LONGEST_NAME

_TEXT: dict[str, Any] = {"type": ["string", "number", "boolean"]}
_TEXTS: dict[str, Any] = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]}
_CONDITIONS: dict[str, Any] = {"$ref": "#/$defs/Conditions"}
_WANTED: dict[str, Any] = {"$ref": "#/$defs/Wanted"}
_BY_HEADER: dict[str, Any] = {"type": "object", "additionalProperties": _WANTED}
_END: dict[str, Any] = {"type": ["number", "string"]}


def audience_schema() -> dict[str, Any]:
    """The JSON Schema of an audience as users write it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Sluicegate audience",
        "description": "A named group of requests, by their headers, for any model.",
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "when"],
        "properties": {
            "kind": {"const": "audience", "description": "What this document is."},
            "name": {
                "type": "string", "minLength": 1, "maxLength": LONGEST_NAME, "pattern": "^[^/]+$",
                "description": "The name of the audience, which connections use.",
            },
            "description": {"type": "string", "default": "", "description": "Who they are, for people."},
            "when": {**_CONDITIONS, "description": "The conditions, of which each must hold; {} is everybody."},
        },
        "$defs": {"Conditions": _conditions(), "Wanted": _wanted()},
    }  # fmt: skip


def _conditions() -> dict[str, Any]:
    several = {"type": "array", "items": _CONDITIONS}
    return {
        "type": "object",
        "properties": {
            "not": {**_CONDITIONS, "description": "Conditions that must not all hold."},
            "any": {**several, "description": "At least one of these must hold."},
            "all": {**several, "description": "Each of these must hold."},
            "header": {**_BY_HEADER, "description": "Headers that are called not, any, all or header."},
        },
        "additionalProperties": _WANTED,
    }


def _wanted() -> dict[str, Any]:
    """What a header must be: a text, one of several, or operators that must all hold."""
    operators = {each.value: _TEXTS for each in Operator}
    return {"anyOf": [*_TEXTS["anyOf"], {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": False,
        "properties": {
            **operators,
            "in": {**_TEXTS, "description": "One of these texts."},
            "present": {"type": "boolean", "description": "Whether the header is sent at all, empty or not."},
            "not": {**_WANTED, "description": "Any other value, or no such header at all."},
            "from": {**_END, "description": "The least number that matches."},
            "to": {**_END, "description": "The largest number that matches."},
        },
    }]}  # fmt: skip
