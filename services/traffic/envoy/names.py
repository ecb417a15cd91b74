"""Names that Envoy's files, statistics and our readers of them share."""

from __future__ import annotations

from sluicegate.registry.words.build import BuildRef, service_name
from sluicegate.services.traffic.table import Target

ROUTES = "sluice"
"""Name of the route configuration."""
LIVE = "live"
OUTSIDE = "outside"
SHADOW = "shadow"
DETOUR = "detour"
GENERATED = "generated"
DETOURS = MEDIUM, LARGE = ("*medium", "*large")
"""The clusters of bodies that go round by the detour. A star is in no model's name."""
CLUSTERS_FILE = "cds.json"
ROUTES_FILE = "rds.json"
READINESS = "envoy.filters.http.health_check"
READY_PATH = "/-/ready"
NO_TABLE = "none"
"""The version of the routes of a gateway that was never given a table: it is not ready."""
ADDRESSES = "addresses"
"""The folder of the files that say where the replicas of a build are."""
BOOTSTRAP_FILE = "bootstrap.json"
_STAND_IN = "~stand-in"


def cluster_name(build: BuildRef) -> str:
    """The cluster of a build's service."""
    return service_name(build)


def stand_in_name(build: BuildRef) -> str:
    """The cluster by which a build answers in another variation's place, with bounds of its own."""
    return f"{service_name(build)}{_STAND_IN}"


def chain(model: str, target: Target) -> tuple[str, ...]:
    """The clusters that answer for a target, each when those before it cannot."""
    builds = (target.assigned.build, *filter(None, [target.fallback]))
    names = tuple(cluster_name(BuildRef(model=model, version=version)) for version in builds)
    last = target.stands_in
    return names if last is None else (*names, stand_in_name(BuildRef(model=model, version=last.build)))


def chain_name(clusters: tuple[str, ...]) -> str:
    """The cluster that tries these, one after the other; of one alone, its own."""
    return "+".join(clusters)


def mirror_name(build: BuildRef) -> str:
    """The cluster that copies of requests for a build go to: our own shadow listener, with bounds of its own."""
    return f"{service_name(build)}~mirror"


def members(cluster: str) -> tuple[str, ...]:
    """The clusters that a cluster leads to, those of builds among them."""
    parts = cluster.removesuffix("~mirror").split("+")
    return tuple(dict.fromkeys((*parts, *(part.removesuffix(_STAND_IN) for part in parts))))
