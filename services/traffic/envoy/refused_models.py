"""Refused models: if Envoy would refuse a model's routes, only that model keeps its former ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sluicegate.registry.words.build import slug
from sluicegate.services.traffic.envoy.names import ROUTES, members
from sluicegate.services.traffic.envoy.path_tree import routes_in
from sluicegate.services.traffic.envoy.resource_files import read_resources
from sluicegate.services.traffic.envoy.resources import Resource
from sluicegate.services.traffic.table import RouteTable


@dataclass(frozen=True, kw_only=True)
class Former:
    """What stays of refused models: their present routes, and the clusters of their builds by name."""

    routes: tuple[Resource, ...]
    clusters: Mapping[str, Resource]


def refusals(table: RouteTable, reason: Callable[[RouteTable], str | None]) -> dict[str, str]:
    """Why each model is refused that Envoy would refuse by itself. Searches by bisection, since each check takes time.

    `reason` says why a table would be refused. Empty if models are refused only in combination.
    """
    why = reason(table)
    if why is None:
        return {}
    names = [route.model for route in table.models]
    if len(names) == 1:
        return {names[0]: why}
    middle = len(names) // 2
    halves = (table.only(names[:middle]), table.only(names[middle:]))
    return {model: why for half in halves for model, why in refusals(half, reason).items()}


def former(models: Collection[str], routes: Path, clusters: Path) -> Former:
    """The models' present routes and clusters from the files; none for a model without routes."""
    slugs = {slug(model) for model in models}
    return Former(
        routes=tuple(route for route in _routes(routes) if str(route.get("name")).partition("/")[0] in slugs),
        clusters={
            name: cluster
            for name, cluster in read_resources(clusters).items()
            if any(member.partition(".")[0] in slugs for member in members(name))
        },
    )


def _routes(path: Path) -> Iterator[Resource]:
    match read_resources(path).get(ROUTES):
        case {"virtual_hosts": [{"matcher": matcher}]}:
            yield from routes_in(matcher)
        case _:
            return
