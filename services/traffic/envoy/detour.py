"""The detour of large bodies: through an internal listener that admits only a few at a time. Pure.

Envoy buffers a request's body until it is complete. It can buffer small bodies for all callers at once; for larger
ones, and those of unknown size, there is not enough memory. These are streamed to a second listener that buffers them.
The number of connections to it is their budget: a request that finds none free waits unread, in a queue that is bounded
too. Requests with small bodies are not affected.
"""

from __future__ import annotations

from dataclasses import dataclass

from sluicegate.services.traffic.envoy.limits import Limits
from sluicegate.services.traffic.envoy.names import LARGE, MEDIUM
from sluicegate.services.traffic.envoy.path_tree import route_list
from sluicegate.services.traffic.envoy.resources import (
    Resource,
    extension,
    message,
    pipe,
    seconds,
    set_header,
)

DETOUR_HEADER = "x-sluice-detour"
"""Marks a request on the detour. Callers cannot set it: the gateway removes headers with this prefix."""
_BUFFER = "envoy.filters.http.buffer"
_BUFFER_KIND = "envoy.extensions.filters.http.buffer.v3.Buffer"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_HEADER = "envoy.type.matcher.v3.HttpRequestHeaderMatchInput"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How many bodies of one kind may be open at once."""

    name: str
    at_once: int


def budgets(limits: Limits) -> tuple[Budget, Budget]:
    """The budgets of medium bodies, and of large ones together with those of unknown size."""
    return (
        Budget(name=MEDIUM, at_once=limits.medium_requests),
        Budget(name=LARGE, at_once=limits.large_requests),
    )


def detours(limits: Limits, socket: str) -> list[Resource]:
    """The clusters that lead to the detour's listener."""
    return [_cluster(budget, limits, socket) for budget in budgets(limits)]


def by_size(tree: Resource, limits: Limits) -> Resource:
    """The tree of routes behind a fork that sends large bodies to the detour first.

    A length of few digits is small. Most requests have one, and are compared with nothing else.
    """
    medium, large = budgets(limits)
    length = _input("content-length")
    few_digits = _matches(length, f"[0-9]{{1,{len(str(limits.small_bytes)) - 1}}}")
    is_unknown: Resource = {"not_matcher": _matches(length, ".*")}
    forks = [
        _fork(large, _matches(length, at_least(limits.medium_bytes + 1))),
        _fork(medium, _matches(length, at_least(limits.small_bytes + 1))),
        _fork(large, is_unknown, _matches(_input(":method"), "POST")),
    ]
    by_length: Resource = {"predicate": {"not_matcher": few_digits}, "on_match": {"matcher": _first_of(forks)}}
    return {**_first_of([by_length]), "on_no_match": {"matcher": tree}}


def _first_of(matchers: list[Resource]) -> Resource:
    """Where none matches, what stands after it is tried."""
    return {"matcher_list": {"matchers": matchers}}


def body_limit(most: int) -> Resource:
    """Buffers bodies until they are complete, and refuses those beyond the limit."""
    return extension(_BUFFER, _BUFFER_KIND, max_request_bytes=most)


def unmark() -> Resource:
    """Removes the detour's header after it has been read."""
    kind = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
    mutations = {"request_mutations": [{"remove": DETOUR_HEADER}]}
    return extension("envoy.filters.http.header_mutation", kind, mutations=mutations)


def not_passed_on() -> Resource:
    """A log filter that skips requests which reached the detour's listener, because that listener logs them."""
    cel = extension(
        "envoy.access_loggers.extension_filters.cel",
        "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
        expression="!has(upstream.cx_pool_ready_duration)",
    )
    took_none = {"header_filter": {"header": {"name": DETOUR_HEADER, "present_match": True, "invert_match": True}}}
    found_none = {"response_flag_filter": {"flags": ["UO", "UF"]}}
    return {"or_filter": {"filters": [took_none, found_none, {"extension_filter": cel}]}}


def at_least(number: int) -> str:
    """An RE2 pattern for decimal numbers of at least this value, with or without leading zeros."""
    digits = str(number)
    longer = f"[1-9][0-9]{{{len(digits)},}}"
    higher = [
        f"{digits[:place]}[{int(digit) + 1}-9][0-9]{{{len(digits) - place - 1}}}"
        for place, digit in enumerate(digits)
        if digit != "9"
    ]
    return f"0*(?:{'|'.join((digits, longer, *higher))})"


def _cluster(budget: Budget, limits: Limits, socket: str) -> Resource:
    """Uses a new connection for each request, so that no idle connection of one thread blocks requests of another."""
    options = message(
        _HTTP_OPTIONS,
        common_http_protocol_options={"max_requests_per_connection": 1},
        explicit_http_config={"http_protocol_options": {}},
    )
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": pipe(socket)}}]}]
    bounds = {"max_connections": budget.at_once, "max_pending_requests": limits.waiting_requests}
    return {
        "name": budget.name,
        "type": "STATIC",
        "connect_timeout": seconds(limits.connect_seconds),
        "per_connection_buffer_limit_bytes": limits.buffer_bytes,
        "load_assignment": {"cluster_name": budget.name, "endpoints": endpoints},
        "circuit_breakers": {"thresholds": [{**bounds, "max_requests": limits.connections}]},
        "typed_extension_protocol_options": {_HTTP_OPTIONS: options},
    }


def _fork(budget: Budget, *conditions: Resource) -> Resource:
    """Sends requests that meet the conditions, and were not on the detour yet, to the detour."""
    route: Resource = {
        "name": budget.name,
        "match": {"prefix": "/"},
        "request_headers_to_add": [set_header(DETOUR_HEADER, "1")],
        "typed_per_filter_config": {_BUFFER: message(f"{_BUFFER_KIND}PerRoute", disabled=True)},
        "route": {"cluster": budget.name, "timeout": "0s"},
    }
    predicates: list[Resource] = [*conditions, {"not_matcher": _matches(_input(DETOUR_HEADER), ".*")}]
    return {"predicate": {"and_matcher": {"predicate": predicates}}, "on_match": route_list([route])}


def _input(header: str) -> Resource:
    return extension(_HEADER.rpartition(".")[2], _HEADER, header_name=header)


def _matches(what: Resource, pattern: str) -> Resource:
    value = {"safe_regex": {"google_re2": {}, "regex": pattern}}
    return {"single_predicate": {"input": what, "value_match": value}}
