"""RouteTable -> Envoy's clusters: one for each routed build, one for each chain of them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path

from sluicegate.registry.words.build import BuildRef, Endpoint, Endpoints
from sluicegate.services.traffic.envoy.limits import Limits
from sluicegate.services.traffic.envoy.log_format import METADATA
from sluicegate.services.traffic.envoy.names import chain, chain_name, cluster_name, mirror_name, stand_in_name
from sluicegate.services.traffic.envoy.resources import Resource, address, extension, message, pipe, seconds, watched
from sluicegate.services.traffic.table import ModelRoute, RouteTable

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_ASSIGNMENT = "envoy.config.endpoint.v3.ClusterLoadAssignment"


def clusters(
    table: RouteTable,
    endpoints: Endpoints,
    limits: Limits,
    shadow_socket: Path,
    addresses: Path | None,
    reach: Callable[[str], Resource] | None = None,
) -> dict[str, Resource]:
    """The clusters that the table's routes name, by name. Copies go to the shadow listener at `shadow_socket`.

    The addresses of a build planned with several replicas are in a separate file in the folder `addresses`. With None,
    and for all other builds, they are part of the cluster. `reach` gives a cluster's connection settings by its name.
    """

    def built(build: BuildRef, name: str, hosts_source: Resource, requests: int) -> Resource:
        if reach is None:
            return _build_cluster(name, hosts_source, requests, limits)
        lasting = seconds(limits.relayed_seconds)
        cluster = _build_cluster(name, hosts_source, requests, limits, max_connection_duration=lasting)
        return cluster | reach(cluster_name(build))

    def among(replicas: int) -> int:
        """The number of hosts that this Envoy chooses among: behind a relay, all replicas are one host."""
        return replicas if reach is None else 1

    resources: list[Resource] = []
    for route in table.models:
        ref = partial(BuildRef, model=route.model)
        targets = route.targets
        mirrored = {mirror.assigned.build for audience in route.audiences for mirror in audience.mirrors}
        chains = {chain(route, target) for target in targets}
        stand_ins = {each for target in targets if (each := target.stands_in) is not None}
        followed = {target.assigned.build for target in targets if target.others}
        single = {target.assigned.build for target in targets if not target.others}
        stood_in = {target.assigned.build for target in targets if target.stands_in is not None}
        may_be_passed_over = followed - (single - stood_in)
        behind = {target.fallback for target in targets if target.fallback is not None}
        for version in single | mirrored | followed | behind | {each.build for each in stand_ins}:
            build, replicas = ref(version=version), route.replicas_of(version)
            name = cluster_name(build)
            hosts_source = _hosts_source(name, _hosts(endpoints.get(build, ())), addresses if replicas > 1 else None)
            ejection = _ejection(among(replicas), may_all=version in may_be_passed_over)
            resources.append(built(build, name, hosts_source, limits.upstream_requests) | ejection)
        for each in stand_ins:
            build, replicas = ref(version=each.build), route.replicas_of(each.build)
            name, hosts = stand_in_name(build), _hosts(endpoints.get(build, ()), stand_in=each.variation)
            hosts_source = _hosts_source(name, hosts, addresses if replicas > 1 else None)
            cluster = built(build, name, hosts_source, limits.stand_in_requests)
            resources.append(cluster | _ejection(among(replicas), may_all=False))
        resources += [_chain_cluster(each, limits) for each in chains if len(each) > 1]
        resources += [_mirror_cluster(ref(version=version), shadow_socket, limits) for version in mirrored]
    by_name = {str(resource["name"]): resource for resource in resources}
    return {name: by_name[name] for name in sorted(by_name)}


def assignments(table: RouteTable, endpoints: Endpoints, among: Collection[str]) -> dict[str, Resource]:
    """The addresses for each of the clusters `among` these that has an address file."""
    return {
        name: message(_ASSIGNMENT, **_assignment(name, _hosts(endpoints.get(build, ()), **more)))
        for route in table.models
        for name, build, more in _replicated(route)
        if name in among
    }


def discovery(resources: Mapping[str, Resource], version: str, kind: str) -> Resource:
    """The content of a discovery file for Envoy."""
    ordered = [message(kind, **resources[name]) for name in sorted(resources)]
    return {"version_info": version, "resources": ordered}


def _replicated(route: ModelRoute) -> Iterator[tuple[str, BuildRef, dict[str, str]]]:
    for version, _ in route.replicas:
        build = BuildRef(model=route.model, version=version)
        yield cluster_name(build), build, {}
        for target in route.targets:
            if target.stands_in is not None and target.stands_in.build == version:
                yield stand_in_name(build), build, {"stand_in": target.stands_in.variation}


def _build_cluster(name: str, hosts_source: Resource, requests: int, limits: Limits, **connections: object) -> Resource:
    """The cluster of a build's service. As a stand-in it has its own limits, so that another variation's failure does
    not overload it for its own callers. `connections`: more options of its connections."""
    options = message(
        _HTTP_OPTIONS,
        common_http_protocol_options={"idle_timeout": seconds(limits.upstream_idle_seconds), **connections},
        explicit_http_config={"http_protocol_options": {}},
    )
    return {
        "name": name,
        **hosts_source,
        "connect_timeout": seconds(limits.connect_seconds),
        "per_connection_buffer_limit_bytes": limits.buffer_bytes,
        "circuit_breakers": _breakers(requests),
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "typed_extension_protocol_options": {_HTTP_OPTIONS: options},
    }


def _hosts_source(name: str, hosts: list[Resource], addresses: Path | None) -> Resource:
    """A cluster's hosts: inline, or in a separate file that can change without any other change.

    Each such file costs Envoy one of the system's inotify instances (usually 128), so few builds have one.
    """
    if addresses is None:
        return {"type": "STATIC", "load_assignment": _assignment(name, hosts)}
    return {
        "type": "EDS",
        "eds_cluster_config": {"eds_config": watched(addresses / f"{name}.json")},
        "lb_policy": "LEAST_REQUEST",
        "least_request_lb_config": {"slow_start_config": {"slow_start_window": seconds(_SLOW_START_SECONDS)}},
    }


def _assignment(name: str, hosts: list[Resource]) -> Resource:
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}] if hosts else []}


def _hosts(endpoints: tuple[Endpoint, ...], **more: str) -> list[Resource]:
    return [_host(endpoint, **more) for endpoint in endpoints]


def _host(endpoint: Endpoint, **more: str) -> Resource:
    return {
        "endpoint": {"address": pipe(endpoint.socket) if endpoint.socket else address(endpoint.host, endpoint.port)},
        "metadata": {"filter_metadata": {METADATA: {"build": endpoint.build.version, **more}}},
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
    """The cluster of copies. Limits the open requests of a slow shadow; copies beyond the limit are dropped."""
    host: Resource = {"endpoint": {"address": pipe(str(shadow_socket))}}
    name = mirror_name(build)
    return {
        "name": name,
        **_hosts_source(name, [host], None),
        "connect_timeout": seconds(limits.connect_seconds),
        "circuit_breakers": _breakers(limits.shadow_requests),
    }


def _breakers(requests: int) -> Resource:
    """Circuit breakers. Envoy's default of three concurrent retries would pass a candidate's failures on to callers."""
    bounds = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    return {"thresholds": [{"priority": "DEFAULT", **dict.fromkeys(bounds, requests), "track_remaining": False}]}


_SLOW_START_SECONDS = 10.0
"""Seconds until a new replica gets its full share, because its first answers are slow."""
_EJECTION: Resource = {
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
"""Skips a host for some seconds if it cannot be reached, hangs or resets, so that no caller waits for it."""
_OF_REPLICAS: Resource = {"consecutive_5xx": 10, "enforcing_consecutive_5xx": 100}
"""Skips a replica that answers only errors while others do not."""
_MOST_PERCENT = 67
"""Most replicas, in per cent, to skip if no other build is behind them: one of two, two of three, two of four."""


def _ejection(replicas: int, *, may_all: bool) -> Resource:
    """When to skip hosts. `may_all`: whether all may be skipped, because another build is behind them.

    For a build with one replica, 5xx are answers and do not count; it is skipped only if another build is behind it.
    """
    if replicas == 1:
        return {"outlier_detection": _EJECTION} if may_all else {}
    limit: Resource = {} if may_all else {"max_ejection_percent": _MOST_PERCENT}
    return {"outlier_detection": _EJECTION | _OF_REPLICAS | limit}
