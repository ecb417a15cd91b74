"""Parses JSON bodies, and refuses those that are nested too deeply."""

from __future__ import annotations

import json

from sluicegate.registry.words.errors import UsageError

DEEPEST = 64
"""Levels of nested lists and objects; no meaningful body has more."""


def read_json(raw: bytes) -> object:
    """The parsed body. Raises UsageError if it is not JSON or is nested too deeply."""
    try:
        value = json.loads(raw)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise UsageError(f"the body is not JSON: {error}.") from error
    level: list[object] = [value]
    for _ in range(DEEPEST):
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return value
    raise _too_deep()


def _inside(value: object) -> list[object]:
    match value:
        case dict():
            return list(value.values())
        case list():
            return value
        case _:
            return []


def _too_deep() -> UsageError:
    return UsageError(f"the body is nested deeper than {DEEPEST} levels.", fix="send flat objects")
