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

    A build that is planned with several replicas has its addresses in a file of its own in the folder `addresses`;
    with None they stand in the cluster, as those of all others do. `reach` tells how connections to a build are made,
    by the name of its cluster.
    """

    def reached(build: BuildRef) -> Resource:
        return {} if reach is None else reach(cluster_name(build))

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
            build, replicas = ref(version=version), route.replicas_of(version)
            name = cluster_name(build)
            found = _found(name, _hosts(endpoints.get(build, ())), addresses if replicas > 1 else None)
            ejection = _ejection(replicas, may_all=version in may_be_passed_over)
            made = _build_cluster(name, found, limits.upstream_requests, limits) | ejection
            resources.append(made | reached(build))
        for each in stand_ins:
            build, replicas = ref(version=each.build), route.replicas_of(each.build)
            name, hosts = stand_in_name(build), _hosts(endpoints.get(build, ()), stand_in=each.variation)
            found = _found(name, hosts, addresses if replicas > 1 else None)
            cluster = _build_cluster(name, found, limits.stand_in_requests, limits)
            resources.append(cluster | _ejection(replicas, may_all=False) | reached(build))
        resources += [_chain_cluster(each, limits) for each in chains if len(each) > 1]
        resources += [_mirror_cluster(ref(version=version), shadow_socket, limits) for version in mirrored]
    by_name = {str(resource["name"]): resource for resource in resources}
    return {name: by_name[name] for name in sorted(by_name)}


def assignments(table: RouteTable, endpoints: Endpoints, among: Collection[str]) -> dict[str, Resource]:
    """Where the replicas are of each cluster `among` these whose addresses have a file of their own."""
    return {
        name: message(_ASSIGNMENT, **_assignment(name, _hosts(endpoints.get(build, ()), **more)))
        for route in table.models
        for name, build, more in _replicated(route)
        if name in among
    }


def discovery(resources: Mapping[str, Resource], version: str, kind: str) -> Resource:
    """A file of resources as Envoy reads it."""
    ordered = [message(kind, **resources[name]) for name in sorted(resources)]
    return {"version_info": version, "resources": ordered}


def _replicated(route: ModelRoute) -> Iterator[tuple[str, BuildRef, dict[str, str]]]:
    for version, _ in route.replicas:
        build = BuildRef(model=route.model, version=version)
        yield cluster_name(build), build, {}
        for target in route.targets:
            if target.stands_in is not None and target.stands_in.build == version:
                yield stand_in_name(build), build, {"stand_in": target.stands_in.variation}


def _build_cluster(name: str, found: Resource, requests: int, limits: Limits) -> Resource:
    """The service of a build; as a stand-in with bounds of its own, so that another variation's failure does not drown
    its callers."""
    options = message(
        _HTTP_OPTIONS,
        common_http_protocol_options={"idle_timeout": seconds(limits.upstream_idle_seconds)},
        explicit_http_config={"http_protocol_options": {}},
    )
    return {
        "name": name,
        **found,
        "connect_timeout": seconds(limits.connect_seconds),
        "per_connection_buffer_limit_bytes": limits.buffer_bytes,
        "circuit_breakers": _breakers(requests),
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "typed_extension_protocol_options": {_HTTP_OPTIONS: options},
    }


def _found(name: str, hosts: list[Resource], addresses: Path | None) -> Resource:
    """How its hosts are found: they stand here, or in a file that may change while all else stays as it is.

    Each such file costs Envoy one of the system's inotify instances (mostly 128), so few builds have one.
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
    """A slow shadow holds no more than these requests; copies beyond them are dropped."""
    host: Resource = {"endpoint": {"address": pipe(str(shadow_socket))}}
    name = mirror_name(build)
    return {
        "name": name,
        **_found(name, [host], None),
        "connect_timeout": seconds(limits.connect_seconds),
        "circuit_breakers": _breakers(limits.shadow_requests),
    }


def _breakers(requests: int) -> Resource:
    """The default of three concurrent retries would pass a failing candidate's failures on to callers."""
    bounds = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    return {"thresholds": [{"priority": "DEFAULT", **dict.fromkeys(bounds, requests), "track_remaining": False}]}


_SLOW_START_SECONDS = 10.0
"""Time in which a replica that is new comes to its full share: first answers are slow ones."""
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
"""What cannot be reached, hangs or resets is passed over for seconds: nobody waits for it."""
_OF_REPLICAS: Resource = {"consecutive_5xx": 10, "enforcing_consecutive_5xx": 100}
"""A replica whose answers are all errors while others' are not."""
_MOST_PERCENT = 67
"""Of replicas with nobody behind them, so many at most are passed over: one of two, two of three, two of four."""


def _ejection(replicas: int, *, may_all: bool) -> Resource:
    """Which hosts are passed over, and whether all of them may be, as another build is behind.

    Of a build with one replica 5xx are answers and do not count. Where nobody stands in for it, it is not passed over.
    """
    if replicas == 1:
        return {"outlier_detection": _EJECTION} if may_all else {}
    most: Resource = {} if may_all else {"max_ejection_percent": _MOST_PERCENT}
    return {"outlier_detection": _EJECTION | _OF_REPLICAS | most}
