"""RouteTable -> Envoy's clusters: one for each routed build, one for each candidate with its fallback. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sluicegate.registry.words.build import BuildRef, Endpoint
from sluicegate.services.traffic.envoy.limits import Limits, seconds
from sluicegate.services.traffic.envoy.log_format import METADATA
from sluicegate.services.traffic.envoy.names import cluster_name, envoy_type, mirror_name, pair_name
from sluicegate.services.traffic.table import RouteTable

Resource = dict[str, object]


def clusters(table: RouteTable, limits: Limits, shadow_socket: Path) -> dict[str, Resource]:
    """The clusters that the table's routes name, by name. Copies go to the shadow listener at `shadow_socket`."""
    found: dict[str, Resource] = {}
    for route in table.models:
        targets = {part.target for audience in route.audiences for part in audience.slices}
        alone = {target.assigned.build for target in targets if target.fallback is None}
        for target in sorted(targets, key=lambda target: target.assigned.header):
            build = BuildRef(model=route.model, version=target.assigned.build)
            found[cluster_name(build)] = _build_cluster(build, table.endpoint(build), limits)
            if target.fallback is not None:
                stable = BuildRef(model=route.model, version=target.fallback)
                found.setdefault(cluster_name(stable), _build_cluster(stable, table.endpoint(stable), limits))
                found[pair_name(build, stable)] = _pair_cluster(build, stable, limits)
                if target.assigned.build not in alone:
                    found[cluster_name(build)]["outlier_detection"] = _ejection()
        for mirror in (mirror for audience in route.audiences for mirror in audience.mirrors):
            build = BuildRef(model=route.model, version=mirror.assigned.build)
            found.setdefault(cluster_name(build), _build_cluster(build, table.endpoint(build), limits))
            found[mirror_name(build)] = _mirror_cluster(build, shadow_socket, limits)
    return found


def discovery(resources: Mapping[str, Resource], version: str, kind: str) -> Resource:
    """A file of resources as Envoy reads it."""
    ordered = [{"@type": envoy_type(kind), **resources[name]} for name in sorted(resources)]
    return {"version_info": version, "resources": ordered}


def _build_cluster(build: BuildRef, endpoint: Endpoint | None, limits: Limits) -> Resource:
    name = cluster_name(build)
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": seconds(limits.connect_seconds),
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [_host(endpoint)]}] if endpoint else [],
        },
        "circuit_breakers": _breakers(limits.upstream_requests),
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": envoy_type("envoy.extensions.upstreams.http.v3.HttpProtocolOptions"),
                "common_http_protocol_options": {"idle_timeout": seconds(limits.upstream_idle_seconds)},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def _host(endpoint: Endpoint) -> Resource:
    address = {"socket_address": {"address": endpoint.host, "port_value": endpoint.port}}
    return {
        "endpoint": {"address": address},
        "metadata": {"filter_metadata": {METADATA: {"build": endpoint.build.version}}},
    }


def _pair_cluster(build: BuildRef, fallback: BuildRef, limits: Limits) -> Resource:
    members = [{"name": cluster_name(build)}, {"name": cluster_name(fallback)}]
    return {
        "name": pair_name(build, fallback),
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": seconds(limits.connect_seconds),
        "circuit_breakers": _breakers(limits.upstream_requests),
        "cluster_type": {
            "name": "envoy.clusters.composite",
            "typed_config": {
                "@type": envoy_type("envoy.extensions.clusters.composite.v3.ClusterConfig"),
                "clusters": members,
            },
        },
    }


def _mirror_cluster(build: BuildRef, shadow_socket: Path, limits: Limits) -> Resource:
    """A slow shadow holds no more than these requests; copies beyond them are dropped."""
    address = {"pipe": {"path": str(shadow_socket)}}
    return {
        "name": mirror_name(build),
        "type": "STATIC",
        "connect_timeout": seconds(limits.connect_seconds),
        "load_assignment": {
            "cluster_name": mirror_name(build),
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "circuit_breakers": _breakers(limits.shadow_requests),
    }


def _breakers(requests: int) -> Resource:
    """The default of three concurrent retries would pass a failing candidate's failures on to callers."""
    bounds = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    return {"thresholds": [{"priority": "DEFAULT", **dict.fromkeys(bounds, requests), "track_remaining": False}]}


def _ejection() -> Resource:
    """A candidate that cannot be reached, hangs or resets is passed over for seconds: its callers wait for it no more.

    5xx are answers and do not count. Nobody stands in for stable, so stable is never passed over.
    """
    return {
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
