"""RouteTable -> Envoy's clusters: one for each routed build, one for each candidate with its fallback. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from sluicegate.registry.words.build import BuildRef, Endpoint
from sluicegate.services.traffic.envoy.limits import Limits
from sluicegate.services.traffic.envoy.log_format import METADATA
from sluicegate.services.traffic.envoy.names import cluster_name, mirror_name, pair_name
from sluicegate.services.traffic.envoy.resources import Resource, address, extension, message, pipe, seconds
from sluicegate.services.traffic.table import RouteTable

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def clusters(table: RouteTable, limits: Limits, shadow_socket: Path) -> dict[str, Resource]:
    """The clusters that the table's routes name, by name. Copies go to the shadow listener at `shadow_socket`."""
    resources: list[Resource] = []
    for route in table.models:
        ref = partial(BuildRef, model=route.model)
        targets = route.targets
        mirrored = {mirror.assigned.build for audience in route.audiences for mirror in audience.mirrors}
        pairs = {(target.assigned.build, target.fallback) for target in targets if target.fallback is not None}
        alone = {target.assigned.build for target in targets if target.fallback is None}
        may_be_passed_over = {version for version, _ in pairs} - alone
        for version in alone | mirrored | {version for pair in pairs for version in pair}:
            cluster = _build_cluster(ref(version=version), table.endpoint(ref(version=version)), limits)
            ejection = {"outlier_detection": _EJECTION} if version in may_be_passed_over else {}
            resources.append(cluster | ejection)
        resources += [_pair_cluster(ref(version=one), ref(version=other), limits) for one, other in pairs]
        resources += [_mirror_cluster(ref(version=version), shadow_socket, limits) for version in mirrored]
    by_name = {str(resource["name"]): resource for resource in resources}
    return {name: by_name[name] for name in sorted(by_name)}


def discovery(resources: Mapping[str, Resource], version: str, kind: str) -> Resource:
    """A file of resources as Envoy reads it."""
    ordered = [message(kind, **resources[name]) for name in sorted(resources)]
    return {"version_info": version, "resources": ordered}


def _build_cluster(build: BuildRef, endpoint: Endpoint | None, limits: Limits) -> Resource:
    options = message(
        _HTTP_OPTIONS,
        common_http_protocol_options={"idle_timeout": seconds(limits.upstream_idle_seconds)},
        explicit_http_config={"http_protocol_options": {}},
    )
    return {
        **_static(cluster_name(build), limits.connect_seconds, [_host(endpoint)] if endpoint else []),
        "per_connection_buffer_limit_bytes": limits.buffer_bytes,
        "circuit_breakers": _breakers(limits.upstream_requests),
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "typed_extension_protocol_options": {_HTTP_OPTIONS: options},
    }


def _static(name: str, connect_seconds: float, hosts: list[Resource]) -> Resource:
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": seconds(connect_seconds),
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}] if hosts else []},
    }


def _host(endpoint: Endpoint) -> Resource:
    return {
        "endpoint": {"address": pipe(endpoint.socket) if endpoint.socket else address(endpoint.host, endpoint.port)},
        "metadata": {"filter_metadata": {METADATA: {"build": endpoint.build.version}}},
    }


def _pair_cluster(build: BuildRef, fallback: BuildRef, limits: Limits) -> Resource:
    members = [{"name": cluster_name(build)}, {"name": cluster_name(fallback)}]
    return {
        "name": pair_name(build, fallback),
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": seconds(limits.connect_seconds),
        "circuit_breakers": _breakers(limits.upstream_requests),
        "cluster_type": extension(
            "envoy.clusters.composite", "envoy.extensions.clusters.composite.v3.ClusterConfig", clusters=members
        ),
    }


def _mirror_cluster(build: BuildRef, shadow_socket: Path, limits: Limits) -> Resource:
    """A slow shadow holds no more than these requests; copies beyond them are dropped."""
    host: Resource = {"endpoint": {"address": pipe(str(shadow_socket))}}
    return {
        **_static(mirror_name(build), limits.connect_seconds, [host]),
        "circuit_breakers": _breakers(limits.shadow_requests),
    }


def _breakers(requests: int) -> Resource:
    """The default of three concurrent retries would pass a failing candidate's failures on to callers."""
    bounds = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    return {"thresholds": [{"priority": "DEFAULT", **dict.fromkeys(bounds, requests), "track_remaining": False}]}


_EJECTION = {
    "split_external_local_origin_errors": True,
    "consecutive_local_origin_failure": 5,
    "enforcing_consecutive_local_origin_failure": 100,
    "enforcing_consecutive_5xx": 0,
    "enforcing_consecutive_gateway_failure": 0,
    "enforcing_success_rate": 0,
    "enforcing_local_origin_success_rate": 0,
    "interval": "1s",
    "base_ejection_time": "5s",
    "max_ejection_time": "15s",
    "max_ejection_percent": 100,
}
"""A candidate that cannot be reached, hangs or resets is passed over for seconds: its callers wait for it no more.

5xx are answers and do not count. Nobody stands in for stable, so stable is never passed over.
"""
