"""Which routes a request is held against: those of its own path, found in one step however many models there are. Pure.

Names with other characters than unreserved ones have several spellings, so they are patterns, and only paths with such
characters are held against these.

Envoy goes through a plain list of routes one by one, which with fifty models costs a request as much again as all the
rest. Inside such a tree it does not hold routes and clusters against each other; `validation` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sluicegate.services.traffic.envoy.path_spelling import ODD_PATH
from sluicegate.services.traffic.envoy.resources import Resource, envoy_type, extension

_PATH_AND_QUERY = "(?:{0})(?:[?].*)?"
_LIST = "envoy.config.route.v3.RouteList"
_HEADER = "envoy.type.matcher.v3.HttpRequestHeaderMatchInput"
_PATH = extension(_HEADER.rpartition(".")[2], _HEADER, header_name=":path")


def path_tree(routes: Iterable[Resource], last: Resource) -> Resource:
    """The routes by their path; within one path their order is kept, and `last` ends every list.

    Envoy takes the longest beginning of a request's path, its query included: of whole paths without a question mark
    that is the path itself, where there are routes for it; of beginnings that are matched, one without a route of its
    own for the whole. Paths of host names are shared by all models.
    """
    by_path: dict[str, list[Resource]] = {}
    by_pattern: dict[str, list[Resource]] = {}
    for route in routes:
        match route["match"]:
            case {"path": str(path)} | {"prefix": str(path)}:
                by_path.setdefault(path, []).append(route)
            case {"safe_regex": {"regex": str(pattern)}}:
                by_pattern.setdefault(pattern, []).append(route)
            case _:
                raise ValueError(f"a route without a path: {route}")
    tree: Resource = {"on_no_match": route_list([last])}
    if by_path:
        lists = {path: route_list([*same_path, last]) for path, same_path in by_path.items()}
        tree["matcher_tree"] = {"input": _PATH, "prefix_match_map": {"map": lists}}
    if not by_pattern:
        return tree
    spelled = [_where(_PATH_AND_QUERY.format(each), route_list([*same, last])) for each, same in by_pattern.items()]
    odd = _where(ODD_PATH, {"matcher": _first_of(spelled, route_list([last]))})
    return _first_of([odd], {"matcher": tree} if by_path else route_list([last]))


def routes_in(matcher: object) -> Iterator[Resource]:
    """Every route of a tree, as `path_tree` was given them and with the last ones."""
    match matcher:
        case {"@type": str(kind), "routes": list() as routes} if kind == envoy_type(_LIST):
            yield from routes
        case dict():
            for part in matcher.values():
                yield from routes_in(part)
        case list():
            for part in matcher:
                yield from routes_in(part)
        case _:
            return


def _where(pattern: str, action: Resource) -> Resource:
    """What follows where the whole path, its query included, matches."""
    is_such = {"input": _PATH, "value_match": {"safe_regex": {"google_re2": {}, "regex": pattern}}}
    return {"predicate": {"single_predicate": is_such}, "on_match": action}


def _first_of(matchers: Sequence[Resource], otherwise: Resource) -> Resource:
    return {"matcher_list": {"matchers": list(matchers)}, "on_no_match": otherwise}


def route_list(routes: Sequence[Resource]) -> Resource:
    """What follows: the first of these routes that matches, and none where none does."""
    return {"action": extension(_LIST.rpartition(".")[2], _LIST, routes=list(routes))}
