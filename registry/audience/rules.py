"""What a condition may contain: rules that apply wherever it came from. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from sluicegate.registry.audience.audience import AllOf, AnyOf, Condition, Match, Not, Operator, Present, Range, whole

MAX_DEPTH = 8
"""How deep conditions may be nested."""
MAX_OPERANDS = 500
"""How many values one condition may have."""
MAX_PROGRAM = 100
"""Size of a compiled regular expression in RE2 instructions. Envoy accepts no larger one."""
MAX_CHARACTERS = 1024

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
_OURS = ("x-sluice-", "x-envoy-", "x-forwarded-", "x_sluice_", "x_envoy_", "proxy-")
_TRANSPORT = frozenset(
    {"host", "connection", "content-length", "cookie", "expect", "keep-alive", "te", "trailer", "transfer-encoding"}
    | {"upgrade", "via", "x-request-id"}
)


def faults(condition: Condition) -> Iterator[str]:
    """Every reason why a condition or a part of it cannot be used; nothing if it can."""
    deep = depth_fault(condition)
    if deep is not None:
        yield deep
        return
    yield from filter(None, map(fault, _walk(condition)))


def fault(condition: Condition) -> str | None:
    """Why this condition itself, apart from its parts, cannot be used; None if it can."""
    match condition:
        case Match(header=header, operator=operator, operands=operands):
            wrong = (operand_fault(header, operator, operand) for operand in operands)
            return header_fault(header) or size_fault(header, operands) or next(filter(None, wrong), None)
        case Present(header=header):
            return header_fault(header)
        case Range(header=header):
            return header_fault(header) or ends_fault(condition)
        case Not() | AllOf() | AnyOf():
            return None


def parts(condition: Condition) -> tuple[Condition, ...]:
    """The conditions inside a condition."""
    match condition:
        case Not(condition=inner):
            return (inner,)
        case AllOf(conditions=inner) | AnyOf(conditions=inner):
            return inner
        case Match() | Present() | Range():
            return ()


def _walk(condition: Condition) -> Iterator[Condition]:
    yield condition
    for part in parts(condition):
        yield from _walk(part)


def depth_fault(condition: Condition, left: int = MAX_DEPTH) -> str | None:
    """Why conditions are nested too deep; None if they are not."""
    if left == 0:
        return f"conditions are nested {MAX_DEPTH + 1} levels deep; at most {MAX_DEPTH} are allowed"
    return next(filter(None, (depth_fault(part, left - 1) for part in parts(condition))), None)


def header_fault(header: str) -> str | None:
    """Why no condition can use this header; None if one can."""
    if not _NAME.match(header):
        return f"{header!r} is no header name: write up to 64 letters, digits, -, _ and ."
    if header.lower() in _TRANSPORT or header.lower().startswith(_OURS):
        return f"header {header} is used for transport; send the caller's metadata in a header of another name"
    return None


def size_fault(header: str, operands: Sequence[str]) -> str | None:
    """Why a header cannot be compared with this many values; None if it can."""
    if not operands:
        return f"{header}: an empty list matches nothing; write at least one text"
    return f"{header}: {len(operands)} values; at most {MAX_OPERANDS}" if len(operands) > MAX_OPERANDS else None


def operand_fault(header: str, operator: Operator, operand: str) -> str | None:
    """Why a header cannot be compared with this value; None if it can."""
    if not operand and operator not in (Operator.EXACT, Operator.REGEX):
        return f"an empty {operator} matches every value; write present: true"
    wrong = _operand_fault(operator, operand)
    return None if wrong is None else f"{header}: {wrong}"


def ends_fault(condition: Range) -> str | None:
    """Why no number can lie in this range; None if one can."""
    ends = [end for end in (condition.low, condition.high) if end is not None]
    if not ends:
        return f"{condition.header}: a range needs from, to or both"
    if not all(math.isfinite(end) for end in ends):
        return f"{condition.header}: the ends of a range must be finite numbers"
    if len(ends) == 2 and ends[0] > ends[1]:
        return f"{condition.header}: from {ends[0]:g} is above to {ends[1]:g}, so no number matches"
    return None


def _operand_fault(operator: Operator, operand: str) -> str | None:
    if len(operand) > MAX_CHARACTERS:
        return f"a value of {len(operand)} characters; at most {MAX_CHARACTERS} are allowed"
    if any(_cannot_travel(character) for character in operand):
        return f"{operand!r} contains a character that HTTP headers cannot hold"
    match operator:
        case Operator.REGEX:
            return _pattern_fault(operand)
        case Operator.EXACT:
            blank = operand != operand.strip(" \t")
        case Operator.PREFIX:
            blank = operand != operand.lstrip(" \t")
        case Operator.SUFFIX:
            blank = operand != operand.rstrip(" \t")
        case Operator.CONTAINS:
            blank = False
    return f"{operand!r} never matches: HTTP removes spaces at the ends of a value" if blank else None


def _cannot_travel(character: str) -> bool:
    return (ord(character) < 0x20 and character != "\t") or ord(character) == 0x7F or 0xD800 <= ord(character) <= 0xDFFF


def _pattern_fault(pattern: str) -> str | None:
    try:
        size = whole(pattern).programsize
    except ValueError as error:
        return f"{pattern!r} is not a valid RE2 expression: {error}"
    if size > MAX_PROGRAM:
        return f"{pattern!r} is too large: {size} RE2 instructions, at most {MAX_PROGRAM}; split it with any"
    return None
