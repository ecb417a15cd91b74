"""Relay: lets gateways on other hosts reach this host's services. They show our certificate and name a build.

The services listen on Unix sockets that only their owner can use. The relay is a separate Envoy in front of them:
mutual TLS, one SNI name for each build, plain TCP forwarding. It follows what runs, not what is routed, so a build can
be reached before a gateway sends it requests, and for as long as one may.

Anybody can open a connection without a certificate. So the relay counts connections by their source address before it
reads a byte of them: each gateway's address has its own limit, and all other addresses share a small one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sluicegate.registry.words.build import Endpoint, Endpoints
from sluicegate.registry.words.fencing import FencingToken
from sluicegate.services import durable
from sluicegate.services.loopback import own_folder, socket_path
from sluicegate.services.traffic.envoy.admin import Admin
from sluicegate.services.traffic.envoy.limits import Limits
from sluicegate.services.traffic.envoy.names import cluster_name
from sluicegate.services.traffic.envoy.overload import overload
from sluicegate.services.traffic.envoy.resource_files import canonical, digest
from sluicegate.services.traffic.envoy.resources import (
    Resource,
    address,
    extension,
    message,
    pipe,
    seconds,
    watched,
)
from sluicegate.services.traffic.envoy.watched_file import WatchedFile
from sluicegate.services.traffic.fence import Fence

NAME = "relay"
_LISTENER, _CLUSTER = "envoy.config.listener.v3.Listener", "envoy.config.cluster.v3.Cluster"
_TLS = "envoy.extensions.transport_sockets.tls.v3"
_FILTERS, _INTERNAL = "envoy.extensions.filters.network", "envoy.extensions.bootstrap.internal_listener"
_BUILDS = "builds"
_ATTEMPTS = 4
"""Attempts to connect to a build. Replicas take turns, so a further attempt is at another one."""
_CONNECT_SECONDS, _HANDSHAKE_SECONDS = 1.0, 10.0


@dataclass(frozen=True, kw_only=True)
class Relayed:
    """The relay through which a gateway on another host reaches the services."""

    name: str
    """The name in the relay's certificate."""
    pair: Path
    """The client's certificate and key in one file, whose folder Envoy watches."""
    authority: Path
    """The file of the authority that signs the relay's certificate."""


def secret_file(name: str, pair: Path) -> Resource:
    """Tells Envoy where a certificate and its key are. Envoy reads the pair again when it is replaced."""
    source = {"filename": str(pair)}
    tls = {"certificate_chain": source, "private_key": source, "watched_directory": {"path": str(pair.parent)}}
    return {"version_info": "1", "resources": [message(f"{_TLS}.Secret", name=name, tls_certificate=tls)]}


def through_relay(cluster: str, relayed: Relayed, secret: Path) -> Resource:
    """The connection settings for a build's service. `secret`: the file with `secret_file`'s content."""
    kind = "IP_ADDRESS" if relayed.name.replace(".", "").isdecimal() else "DNS"
    context = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "tls_certificate_sds_secret_configs": [{"name": NAME, "sds_config": watched(secret)}],
        "validation_context": {
            "trusted_ca": {"filename": str(relayed.authority)},
            "match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": relayed.name}}],
        },
    }
    socket = extension(
        "envoy.transport_sockets.tls", f"{_TLS}.UpstreamTlsContext", sni=cluster, common_tls_context=context
    )
    return {"transport_socket": socket}


@dataclass(frozen=True, kw_only=True)
class Relay:
    """The relay of this host: its files and its command."""

    folder: Path
    host: str
    port: int
    pair: Path
    """Its certificate and key in one file, whose folder Envoy watches."""
    authority: Path
    """The file of the authority that signs the gateways' certificates."""
    binary: Path
    limits: Limits = field(default_factory=Limits)
    """Limits for all connections together, which anybody can open even without a certificate."""

    @property
    def _admin_socket(self) -> Path:
        return socket_path(self.folder, "admin")

    @property
    def _secret(self) -> Path:
        return self.folder / "tls.json"

    def prepare(self) -> None:
        """Write the files that it needs to start. Services that it knows already stay."""
        own_folder(self.folder)
        own_folder(self._admin_socket.parent)
        durable.replace(self.folder / "bootstrap.json", canonical(self._bootstrap()), mode=durable.PRIVATE)
        durable.replace(self._secret, canonical(secret_file(NAME, self.pair)))
        for path, kind in ((self.folder / "cds.json", _CLUSTER), (self.folder / "lds.json", _LISTENER)):
            if not path.exists():
                durable.replace(path, _file([], kind))

    def command(self) -> tuple[str, ...]:
        """The command of the relay's process."""
        return (
            str(self.binary), "-c", str(self.folder / "bootstrap.json"), "--disable-hot-restart", "--concurrency", "2",
            "--log-level", "warning", "--log-path", str(self.folder / "envoy.log"),
        )  # fmt: skip

    def publish(self, endpoints: Endpoints, gateways: Collection[str], made_from: FencingToken) -> None:
        """Let the gateways at these addresses reach exactly these services.

        `made_from`: of the route table that these services belong to. Raises Fenced if a newer one was here, also in
        the middle of a change; RoutesRejected, TimedOut.
        """
        fence = Fence(self.folder)
        fence.enter(made_from)
        replicas_by_name = {cluster_name(build): replicas for build, replicas in endpoints.items()}
        named = {name: replicas for name, replicas in sorted(replicas_by_name.items()) if replicas}
        admin = Admin(self._admin_socket, timeout=5.0)
        watched_file = partial(
            WatchedFile, admin=admin, log=self.folder / "envoy.log", patience=5.0, passing=fence.passing
        )  # fmt: skip
        clusters = [_cluster(name, replicas, self.limits.connections) for name, replicas in named.items()]
        listeners = [self._gateway_listener(sorted(set(gateways))), self._builds(tuple(named))] if named else []
        for name, kind, resources, subscription in (
            ("cds.json", _CLUSTER, clusters, "cluster_manager.cds"),
            ("lds.json", _LISTENER, listeners, "listener_manager.lds"),
        ):
            text = _file(resources, kind)
            watched_file(self.folder / name, subscription=subscription).push(text, digest(resources))

    def _bootstrap(self) -> Resource:
        return {
            "node": {"id": NAME, "cluster": "sluice"},
            "admin": {
                "address": {"pipe": {"path": str(self._admin_socket), "mode": 0o600}}, "ignore_global_conn_limit": True,
            },
            "dynamic_resources": {
                "cds_config": watched(self.folder / "cds.json"), "lds_config": watched(self.folder / "lds.json"),
            },
            "bootstrap_extensions": [
                extension("envoy.bootstrap.internal_listener", f"{_INTERNAL}.v3.InternalListener"),
            ],
            "static_resources": {"clusters": [_within(self.limits.connections)]},
            "overload_manager": overload(self.limits, refuse="reject_incoming_connections"),
        }  # fmt: skip

    def _gateway_listener(self, gateways: Sequence[str]) -> Resource:
        """The public listener. Limits connections from each gateway, and from all other addresses together."""
        named = [
            _from(each, self.limits.gateway_connections, filter_chain_match={"source_prefix_ranges": [_only(each)]})
            for each in gateways
        ]
        return {
            "name": NAME,
            "address": address(self.host, self.port),
            "freebind": True,
            "per_connection_buffer_limit_bytes": self.limits.buffer_bytes,
            "filter_chains": named,
            "default_filter_chain": _from("others", self.limits.stranger_connections),
        }

    def _builds(self, clusters: tuple[str, ...]) -> Resource:
        """The internal listener, which forwards each connection to the build that it names."""
        kind = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
        return {
            "name": _BUILDS,
            "internal_listener": {},
            "per_connection_buffer_limit_bytes": self.limits.buffer_bytes,
            "listener_filters_timeout": seconds(_HANDSHAKE_SECONDS),
            "listener_filters": [extension("envoy.filters.listener.tls_inspector", kind)],
            "filter_chains": [self._chain(name) for name in clusters],
        }

    def _chain(self, cluster: str) -> Resource:
        context = {
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "tls_certificate_sds_secret_configs": [{"name": NAME, "sds_config": watched(self._secret)}],
            "validation_context": {"trusted_ca": {"filename": str(self.authority)}},
        }
        tls = extension(
            "envoy.transport_sockets.tls", f"{_TLS}.DownstreamTlsContext",
            require_client_certificate=True, common_tls_context=context,
        )  # fmt: skip
        return {
            "name": cluster,
            "filter_chain_match": {"server_names": [cluster]},
            "transport_socket": tls,
            "transport_socket_connect_timeout": seconds(_HANDSHAKE_SECONDS),
            "filters": [
                _pass_on(
                    cluster, upstream_connect_mode="ON_DOWNSTREAM_TLS_HANDSHAKE", max_early_data_bytes=0,
                    max_connect_attempts=_ATTEMPTS,
                )
            ],
        }  # fmt: skip


def _from(source: str, most: int, **match: object) -> Resource:
    """A filter chain that admits at most `most` connections at once from a source, before any handshake."""
    limit = extension(
        "envoy.filters.network.connection_limit", f"{_FILTERS}.connection_limit.v3.ConnectionLimit",
        stat_prefix=NAME, max_connections=most,
    )  # fmt: skip
    return {"name": source, **match, "filters": [limit, _pass_on(_BUILDS)]}


def _only(source: str) -> Resource:
    return {"address_prefix": source, "prefix_len": 32}


def _pass_on(cluster: str, **how: object) -> Resource:
    kind = f"{_FILTERS}.tcp_proxy.v3.TcpProxy"
    return extension("envoy.filters.network.tcp_proxy", kind, stat_prefix=NAME, cluster=cluster, **how)


def _cluster(name: str, replicas: tuple[Endpoint, ...], most: int) -> Resource:
    """A build's service with a limit of `most` connections, since Envoy's default is 1,024."""
    places = [pipe(each.socket) if each.socket else address(each.host, each.port) for each in replicas]
    hosts = [{"endpoint": {"address": each}} for each in places]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": seconds(_CONNECT_SECONDS),
        "circuit_breakers": {"thresholds": [{"max_connections": most}]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]},
    }


def _within(most: int) -> Resource:
    """The cluster that leads to this Envoy's internal listener."""
    there = {"endpoint": {"address": {"envoy_internal_address": {"server_listener_name": _BUILDS}}}}
    return {
        "name": _BUILDS,
        "connect_timeout": seconds(_CONNECT_SECONDS),
        "circuit_breakers": {"thresholds": [{"max_connections": most}]},
        "load_assignment": {"cluster_name": _BUILDS, "endpoints": [{"lb_endpoints": [there]}]},
    }


def _file(resources: list[Resource], kind: str) -> str:
    ordered = [message(kind, **each) for each in resources]
    return canonical({"version_info": digest(resources), "resources": ordered})
