"""Names that Envoy's files, statistics and our readers of them share."""

from __future__ import annotations

from sluicegate.registry.words.build import BuildRef, service_name

ROUTES = "sluice"
"""Name of the route configuration."""
LIVE = "live"
SHADOW = "shadow"
DETOUR = "detour"
DETOURS = MEDIUM, LARGE = ("*medium", "*large")
"""The clusters of bodies that go round by the detour. A star is in no model's name."""
CLUSTERS_FILE = "cds.json"
ROUTES_FILE = "rds.json"
BOOTSTRAP_FILE = "bootstrap.json"


def cluster_name(build: BuildRef) -> str:
    """The cluster of a build's service."""
    return service_name(build)


def pair_name(build: BuildRef, fallback: BuildRef) -> str:
    """The cluster that tries a build first and its fallback next."""
    return f"{service_name(build)}+{service_name(fallback)}"


def mirror_name(build: BuildRef) -> str:
    """The cluster that copies of requests for a build go to: our own shadow listener, with bounds of its own."""
    return f"{service_name(build)}~mirror"


def members(cluster: str) -> tuple[str, ...]:
    """The builds' clusters that a cluster leads to."""
    return tuple(cluster.removesuffix("~mirror").split("+"))
