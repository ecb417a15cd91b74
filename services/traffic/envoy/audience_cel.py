"""Audiences -> CEL text that Envoy evaluates over request headers. Pure.

A first route finds the audience of a model's request and stores its position where the following routes look it up. A
condition never raises an error: it checks for absent headers and values that are no numbers before it uses them.
"""

from __future__ import annotations

from collections.abc import Sequence

from sluicegate.registry.audience.audience import (
    NUMBER,
    AllOf,
    AnyOf,
    Condition,
    Match,
    Not,
    Operator,
    Present,
    Range,
    whole_pattern,
)
from sluicegate.services.traffic.envoy.resources import Resource, extension, message
from sluicegate.services.traffic.table import AudienceRoute

FILTER = "sluice.audience"
_SHARE = 8
"""Audiences in one expression, because Envoy allows a nesting depth of at most 32."""
_NOBODY = "none"
_STATE = "envoy.extensions.filters.http.set_filter_state.v3.Config"


def audience_filter() -> Resource:
    """The filter, disabled unless a route enables it. After it has run, Envoy chooses the route again."""
    return {**extension(FILTER, _STATE, clear_route_cache=True), "disabled": True}


def find_audience(audiences: Sequence[AudienceRoute]) -> Resource:
    """The configuration of a route that finds the audience of its requests."""
    keyed: dict[str, list[tuple[int, Condition]]] = {}
    for position, audience in enumerate(audiences):
        if audience.condition is not None:
            keyed.setdefault(_key(position), []).append((position, audience.condition))
    values = [_value(key, _first(rows)) for key, rows in keyed.items()]
    return {FILTER: message(_STATE, clear_route_cache=True, on_request_headers=values)}


def found_audience(position: int, audience: AudienceRoute) -> list[Resource]:
    """The match conditions of a route for the audience at this position, once the audience has been found."""
    if audience.condition is None:
        return [{"key": _key(0), "string_match": {"safe_regex": {"regex": ".+"}}}]
    return [{"key": _key(position), "string_match": {"exact": str(position)}}]


def expression(condition: Condition) -> str:
    """The condition as CEL, equivalent to `sluicegate.registry.audience.audience.matches`."""
    match condition:
        case Match(header=header, operator=operator, operands=operands):
            compared = " || ".join(_compared(operator, _value_of(header), operands))
            return f"({_is_there(header)} && ({compared}))"
        case Present(header=header):
            return f"({_is_there(header)})"
        case Range(header=header, low=low, high=high):
            number = f"double({_value_of(header)})"
            ends = [f"{number} >= {float(low)!r}"] if low is not None else []
            ends += [f"{number} <= {float(high)!r}"] if high is not None else []
            before = [_is_there(header), f"{_value_of(header)}.matches({_text(NUMBER)})"]
            return f"({' && '.join(before + ends)})"
        case Not(condition=inner):
            return f"!{expression(inner)}"
        case AllOf(conditions=conditions):
            return f"({' && '.join(map(expression, conditions)) or 'true'})"
        case AnyOf(conditions=conditions):
            return f"({' || '.join(map(expression, conditions)) or 'false'})"


def _first(rows: Sequence[tuple[int, Condition]]) -> str:
    """The position of the first audience whose condition holds."""
    chain = "".join(f"{expression(condition)} ? '{position}' : " for position, condition in rows)
    return f"{chain}'{_NOBODY}'"


def _compared(operator: Operator, value: str, operands: Sequence[str]) -> list[str]:
    texts = [_text(operand) for operand in operands]
    match operator:
        case Operator.EXACT:
            return [f"{value} in [{', '.join(texts)}]"]
        case Operator.PREFIX:
            return [f"{value}.startsWith({text})" for text in texts]
        case Operator.SUFFIX:
            return [f"{value}.endsWith({text})" for text in texts]
        case Operator.CONTAINS:
            return [f"{value}.contains({text})" for text in texts]
        case Operator.REGEX:
            return [f"{value}.matches({_text(whole_pattern(operand))})" for operand in operands]


def _is_there(header: str) -> str:
    return f"{_text(header.lower())} in request.headers"


def _value_of(header: str) -> str:
    return f"request.headers[{_text(header.lower())}]"


def _text(value: str) -> str:
    """A CEL string literal. Escapes everything that could end the literal or Envoy's format string around it."""
    return "'" + "".join(sign if _is_plain(sign) else f"\\U{ord(sign):08x}" for sign in value) + "'"


def _is_plain(sign: str) -> bool:
    return sign.isascii() and (sign.isalnum() or sign in " -_.,:;/@")


def _key(position: int) -> str:
    return f"{FILTER}.{position // _SHARE}"


def _value(key: str, cel: str) -> Resource:
    form = {"text_format_source": {"inline_string": f"%CEL({cel})%"}}
    return {"object_key": key, "factory_key": "envoy.string", "format_string": form}
