"""Which routes a request is held against: those of its own path, found in one step however many models there are. Pure.

Envoy goes through a plain list of routes one by one, which with fifty models costs a request as much again as all the
rest. Inside such a tree it does not hold routes and clusters against each other; `validation` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sluicegate.services.traffic.envoy.resources import Resource, envoy_type, extension

_LIST = "envoy.config.route.v3.RouteList"
_HEADER = "envoy.type.matcher.v3.HttpRequestHeaderMatchInput"


def path_tree(routes: Iterable[Resource], last: Resource) -> Resource:
    """The routes by their path; within one path their order is kept, and `last` ends every list.

    Envoy takes the longest beginning of a request's path, its query included: of whole paths without a question mark
    that is the path itself, where there are routes for it. Paths of host names are shared by all models.
    """
    by_path: dict[str, list[Resource]] = {}
    for route in routes:
        by_path.setdefault(_path(route), []).append(route)
    tree: Resource = {"on_no_match": _list([last])}
    if by_path:
        lists = {path: _list([*same_path, last]) for path, same_path in by_path.items()}
        path_of_request = extension(_HEADER.rpartition(".")[2], _HEADER, header_name=":path")
        tree["matcher_tree"] = {"input": path_of_request, "prefix_match_map": {"map": lists}}
    return tree


def routes_in(matcher: object) -> Iterator[Resource]:
    """Every route of a tree, as `path_tree` was given them and with the last ones."""
    match matcher:
        case {"@type": str(kind), "routes": list() as routes} if kind == envoy_type(_LIST):
            yield from routes
        case dict():
            for part in matcher.values():
                yield from routes_in(part)
        case _:
            return


def _path(route: Resource) -> str:
    match route:
        case {"match": {"path": str(path)}}:
            return path
        case _:
            raise ValueError(f"a route without a path: {route}")


def _list(routes: Sequence[Resource]) -> Resource:
    return {"action": extension(_LIST.rpartition(".")[2], _LIST, routes=list(routes))}
