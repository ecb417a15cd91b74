"""RouteTable -> Envoy's clusters: one for each routed build, one for each chain of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from sluicegate.registry.words.build import BuildRef, Endpoint
from sluicegate.services.traffic.envoy.limits import Limits
from sluicegate.services.traffic.envoy.log_format import METADATA
from sluicegate.services.traffic.envoy.names import chain, chain_name, cluster_name, mirror_name, stand_in_name
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
        chains = {chain(route.model, target) for target in targets}
        stand_ins = {each for target in targets if (each := target.stands_in) is not None}
        followed = {target.assigned.build for target in targets if target.others}
        alone = {target.assigned.build for target in targets if not target.others}
        stood_in = {target.assigned.build for target in targets if target.stands_in is not None}
        may_be_passed_over = followed - (alone - stood_in)
        behind = {target.fallback for target in targets if target.fallback is not None}
        for version in alone | mirrored | followed | behind | {each.build for each in stand_ins}:
            cluster = _build_cluster(ref(version=version), table.endpoint(ref(version=version)), limits)
            ejection = {"outlier_detection": _EJECTION} if version in may_be_passed_over else {}
            resources.append(cluster | ejection)
        for each in stand_ins:
            build = ref(version=each.build)
            resources.append(_stand_in_cluster(build, table.endpoint(build), each.variation, limits))
        resources += [_chain_cluster(each, limits) for each in chains if len(each) > 1]
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


def _host(endpoint: Endpoint, **more: str) -> Resource:
    return {
        "endpoint": {"address": pipe(endpoint.socket) if endpoint.socket else address(endpoint.host, endpoint.port)},
        "metadata": {"filter_metadata": {METADATA: {"build": endpoint.build.version, **more}}},
    }


def _stand_in_cluster(build: BuildRef, endpoint: Endpoint | None, variation: str, limits: Limits) -> Resource:
    """The service of a build with bounds of its own, so that another variation's failure does not drown its callers."""
    host = {"stand_in": variation} if endpoint else {}
    name = stand_in_name(build)
    return {
        **_build_cluster(build, None, limits),
        **_static(name, limits.connect_seconds, [_host(endpoint, **host)] if endpoint else []),
        "circuit_breakers": _breakers(limits.stand_in_requests),
    }


def _chain_cluster(members: tuple[str, ...], limits: Limits) -> Resource:
    return {
        "name": chain_name(members),
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": seconds(limits.connect_seconds),
        "circuit_breakers": _breakers(limits.upstream_requests),
        "cluster_type": extension(
            "envoy.clusters.composite",
            "envoy.extensions.clusters.composite.v3.ClusterConfig",
            clusters=[{"name": name} for name in members],
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
"""What cannot be reached, hangs or resets and has another behind it is passed over for seconds: nobody waits for it.

5xx are answers and do not count. Where nobody stands in for stable, stable is never passed over.
"""
