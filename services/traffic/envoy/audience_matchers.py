"""Audiences -> header matchers of routes, where these can say them. Pure.

They cost a request nearly nothing, where CEL costs it as much as the rest of a gateway's work. A model whose audiences
are all plain needs no CEL (`audience_cel`), which can say everything.
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
    """Whether header matchers can say who belongs to each of the audiences."""
    return all(each.condition is None or matchers(each.condition) is not None for each in audiences)


def matchers(condition: Condition) -> list[Resource] | None:
    """Matchers that hold together exactly when the condition does; None where only CEL can say it."""
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
        case _:  # a pattern of the user's would meet bytes that are no UTF-8 in another way than in CEL
            return None


def _is_plain(operand: str) -> bool:
    return bool(operand) and operand.isascii() and operand.isprintable()
