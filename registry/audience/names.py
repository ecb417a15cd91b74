"""What both spellings of an audience share: names, operands and numbers, with problems noted at their place. Pure."""

from __future__ import annotations

import math
import re

from sluicegate.registry.audience.audience import NUMBER, Condition, Match, Operator, Range
from sluicegate.registry.audience.connections import FALLBACK
from sluicegate.registry.audience.rules import depth_fault, ends_fault, header_fault, operand_fault, size_fault
from sluicegate.registry.words.yaml_text import Path, Text

LONGEST_NAME = 100
_NAME = re.compile(r"[^/\x00-\x1f\x7f]{1,100}\Z")


def name_problem(name: object) -> str | None:
    """Why this is not a valid audience name; None if it is one."""
    if name is None or name == "":
        return "name is missing"
    if not isinstance(name, str):
        return f"{name!r} is not a text: put it in quotes"
    if not _NAME.match(name) or name != name.strip():
        return f"{name!r} is not a valid name: use at most {LONGEST_NAME} characters, no / and no space at either end"
    if name == FALLBACK:
        return f"{FALLBACK} is the name for requests that no audience matches: choose another name"
    return None


def header_of(text: Text, name: object, at: Path, *, on_value: bool = False) -> str | None:
    """A header's name in lower case. If no condition can use it, notes the problem and returns None."""
    wrong = header_fault(name) if isinstance(name, str) else f"{name!r} is not the name of a header"
    if wrong is not None or not isinstance(name, str):
        text.add(at, str(wrong), "such as state or x-user-plan", on_value=on_value)
        return None
    return name.lower()


def match_of(text: Text, header: str, operator: Operator, value: object, at: Path) -> Match | None:
    """A comparison with one text, or with several in a list. If something is wrong, notes it and returns None."""
    items = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
    compared = [_operand(text, header, operator, each, at if i is None else (*at, i)) for i, each in items]
    if any(each is None for each in compared):
        return None
    operands = tuple(dict.fromkeys(each for each in compared if each is not None))
    if not _is_sound(text, size_fault(header, operands), at):
        return None
    return Match(header=header, operator=operator, operands=operands)


def range_of(text: Text, header: str, low: float | None, high: float | None, at: Path) -> Range | None:
    """A range of numbers. If no number can lie in it, notes the problem and returns None."""
    condition = Range(header=header, low=low, high=high)
    return condition if _is_sound(text, ends_fault(condition), at) else None


def is_shallow(text: Text, condition: Condition, at: Path) -> bool:
    """Whether conditions are nested no deeper than the data plane allows. If not, notes the problem."""
    wrong = depth_fault(condition)
    if wrong is not None:
        text.add(at, wrong, "split the audience in two")
    return wrong is None


def _operand(text: Text, header: str, operator: Operator, value: object, at: Path) -> str | None:
    operand = as_text(text, value, at)
    if operand is None:
        text.add(at, "a text or a number is expected", 'an empty text is ""', on_value=True)
        return None
    return operand if _is_sound(text, operand_fault(header, operator, operand), at) else None


def _is_sound(text: Text, wrong: str | None, at: Path) -> bool:
    """Whether there is no fault. If there is one, notes it."""
    if wrong is not None:
        message, _, fix = wrong.partition("; ")
        text.add(at, message, fix or None, on_value=True)
    return wrong is None


def as_text(text: Text, value: object, at: Path) -> str | None:
    """A scalar as it was written, 01234 included; None if the value is not a scalar."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return text.written.get(at, "true" if value else "false")
    return text.written.get(at, repr(value)) if isinstance(value, int | float) else None


def number(text: Text, value: object, at: Path) -> float | None:
    """A finite number, possibly in quotes. If it is not one, notes the problem and returns None."""
    stripped = value.strip() if isinstance(value, str) else value
    is_number = isinstance(stripped, int | float) and not isinstance(stripped, bool) and math.isfinite(stripped)
    if is_number or (isinstance(stripped, str) and re.match(NUMBER, stripped)):
        return float(stripped)  # type: ignore[arg-type]
    text.add(at, f"{value!r} is not a number", "such as 18 or 0.5", on_value=True)
    return None
