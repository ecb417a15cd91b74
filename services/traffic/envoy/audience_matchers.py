"""Audiences -> header matchers of routes, where these can express them. Pure.

Header matchers cost a request almost nothing, while CEL costs as much as the rest of the gateway's work. A model whose
audiences are all plain needs no CEL (`audience_cel`), which can express every condition.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sluicegate.registry.audience.audience import AllOf, Condition, Match, Operator, Present, whole_pattern
from sluicegate.registry.audience.rules import fault
from sluicegate.services.traffic.envoy.resources import Resource
from sluicegate.services.traffic.table import AudienceRoute

_WORDS = {Operator.PREFIX: "prefix", Operator.SUFFIX: "suffix", Operator.CONTAINS: "contains"}


def are_plain(audiences: Sequence[AudienceRoute]) -> bool:
    """Whether header matchers can express the condition of every audience."""
    return all(each.condition is None or matchers(each.condition) is not None for each in audiences)


def matchers(condition: Condition) -> list[Resource] | None:
    """Matchers that all match exactly when the condition holds; None if only CEL can express it."""
    match condition:
        case Present(header=header):
            return [{"name": header.lower(), "present_match": True}]
        case Match(header=header, operator=operator, operands=operands) if all(map(_is_plain, operands)):
            compared = _compared(header, operator, operands)
            return None if compared is None else [{"name": header.lower(), "string_match": compared}]
        case AllOf(conditions=conditions):
            inner = [matchers(each) for each in conditions]
            plain = [matcher for some in inner if some is not None for matcher in some]
            return None if None in inner else plain
        case _:
            return None


def _compared(header: str, operator: Operator, operands: tuple[str, ...]) -> Resource | None:
    match operator, operands:
        case Operator.EXACT, (operand,):
            return {"exact": operand}
        case Operator.EXACT, (_, *_):
            pattern = "|".join(map(re.escape, operands))
            is_small = fault(Match(header=header, operator=Operator.REGEX, operands=(pattern,))) is None
            return {"safe_regex": {"regex": whole_pattern(pattern)}} if is_small else None
        case ((Operator.PREFIX | Operator.SUFFIX | Operator.CONTAINS), (operand,)):
            return {_WORDS[operator]: operand}
        case _:  # user-written patterns would treat bytes that are not UTF-8 differently from CEL
            return None


def _is_plain(operand: str) -> bool:
    return bool(operand) and operand.isascii() and operand.isprintable()
