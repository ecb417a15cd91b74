"""Which routes a request is held against: those of its own path, found in one step however many models there are. Pure.

Envoy goes through a plain list of routes one by one, which with fifty models costs a request as much again as all the
rest. Inside such a tree it does not hold routes and clusters against each other; `envoy_validation` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sluicegate.services.traffic.envoy.clusters import Resource
from sluicegate.services.traffic.envoy.names import envoy_type

_LIST = "envoy.config.route.v3.RouteList"
_HEADER = "envoy.type.matcher.v3.HttpRequestHeaderMatchInput"


def lookup(routes: Iterable[Resource], last: Resource) -> Resource:
    """The routes by their path; within one path their order is kept, and `last` ends every list.

    Envoy takes the longest beginning of a request's path, its query included: of whole paths without a question mark
    that is the path itself, where there are routes for it. Paths of host names are shared by all models.
    """
    by_path: dict[str, list[Resource]] = {}
    for route in routes:
        by_path.setdefault(_path(route), []).append(route)
    found: Resource = {"on_no_match": _list([last])}
    if by_path:
        lists = {path: _list([*listed, last]) for path, listed in by_path.items()}
        found["matcher_tree"] = {"input": _typed(_HEADER, {"header_name": ":path"}), "prefix_match_map": {"map": lists}}
    return found


def listed(matcher: object) -> Iterator[Resource]:
    """Every route of a tree, as `lookup` was given them and with the last ones."""
    match matcher:
        case {"@type": str(kind), "routes": list() as routes} if kind == envoy_type(_LIST):
            yield from routes
        case dict():
            for part in matcher.values():
                yield from listed(part)
        case _:
            return


def _path(route: Resource) -> str:
    match route:
        case {"match": {"path": str(path)}}:
            return path
        case _:
            raise ValueError(f"a route without a path: {route}")


def _list(routes: Sequence[Resource]) -> Resource:
    return {"action": _typed(_LIST, {"routes": list(routes)})}


def _typed(kind: str, content: Resource) -> Resource:
    return {"name": kind.rpartition(".")[2], "typed_config": {"@type": envoy_type(kind), **content}}
