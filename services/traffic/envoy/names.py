"""Names that Envoy's files and statistics share with the code that reads them."""

from __future__ import annotations

from sluicegate.registry.words.build import BuildRef, service_name
from sluicegate.services.traffic.table import ModelRoute, Target

ROUTES = "sluice"
"""Name of the route configuration."""
LIVE = "live"
OUTSIDE = "outside"
SHADOW = "shadow"
DETOUR = "detour"
GENERATED = "generated"
DETOURS = MEDIUM, LARGE = ("*medium", "*large")
"""The clusters of the detour for larger bodies. No model's name contains a star."""
CLUSTERS_FILE = "cds.json"
ROUTES_FILE = "rds.json"
READINESS = "envoy.filters.http.health_check"
READY_PATH = "/-/ready"
NO_TABLE = "none"
"""The routes' version at a gateway that never got a table and so is not ready."""
ADDRESSES = "addresses"
"""The folder of the address files."""
BOOTSTRAP_FILE = "bootstrap.json"
_STAND_IN = "~stand-in"


def cluster_name(build: BuildRef) -> str:
    """The cluster of a build's service."""
    return service_name(build)


def stand_in_name(build: BuildRef) -> str:
    """The cluster of a build that stands in for another variation, with its own limits."""
    return f"{service_name(build)}{_STAND_IN}"


def chain(model: ModelRoute, target: Target) -> tuple[str, ...]:
    """The clusters that answer for a target, each if those before it cannot.

    The last one is there twice if it has several replicas: the first that is asked may be lost together with the build
    before it, such as with their node.
    """
    builds = (target.assigned.build, *filter(None, [target.fallback]))
    names = [cluster_name(BuildRef(model=model.model, version=version)) for version in builds]
    if target.stands_in is not None:
        builds = (*builds, target.stands_in.build)
        names.append(stand_in_name(BuildRef(model=model.model, version=target.stands_in.build)))
    is_asked_twice = len(names) > 1 and model.replicas_of(builds[-1]) > 1
    return (*names, names[-1]) if is_asked_twice else tuple(names)


def chain_name(clusters: tuple[str, ...]) -> str:
    """The cluster that tries these one after the other; for a single one, its own name."""
    return "+".join(clusters)


def mirror_name(build: BuildRef) -> str:
    """The cluster for copies of requests to a build: our shadow listener, with its own limits."""
    return f"{service_name(build)}~mirror"


def members(cluster: str) -> tuple[str, ...]:
    """The clusters to which a cluster leads, including those of builds."""
    parts = cluster.removesuffix("~mirror").split("+")
    return tuple(dict.fromkeys((*parts, *(part.removesuffix(_STAND_IN) for part in parts))))
