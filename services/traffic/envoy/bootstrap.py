"""Envoy's static part: listeners, filters, limits, logs, admin socket. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from sluicegate.registry.words.spans import SpanReceiver
from sluicegate.services.traffic.envoy.audience_cel import audience_filter
from sluicegate.services.traffic.envoy.detour import DETOUR_HEADER, body_limit, detours, not_passed_on, unmark
from sluicegate.services.traffic.envoy.limits import Limits
from sluicegate.services.traffic.envoy.log_format import (
    CLUSTER_HEADER,
    GENERATED_HEADER,
    METADATA,
    PREDICTION_HEADER,
    TIMEOUT_HEADER,
    log_format,
)
from sluicegate.services.traffic.envoy.names import (
    ADDRESSES,
    CLUSTERS_FILE,
    DETOUR,
    GENERATED,
    LIVE,
    OUTSIDE,
    READINESS,
    READY_PATH,
    ROUTES,
    ROUTES_FILE,
    SHADOW,
)
from sluicegate.services.traffic.envoy.overload import overload
from sluicegate.services.traffic.envoy.resources import (
    Resource,
    address,
    extension,
    header_is,
    message,
    seconds,
    set_header,
    watched,
)
from sluicegate.services.traffic.envoy.tracing import export_cluster, tracing

_INTERNAL = ("x-sluice-", "x-envoy-", "x_sluice_", "x_envoy_")
"""Prefixes of internal headers. Also with underscores, because some servers treat both spellings as the same name."""
_JOIN_REPEATED_HEADERS = {"envoy.reloadable_features.match_headers_individually": False}
"""Makes Envoy match a repeated header as a list, so that it does not count as one unit."""

_LONG_NAMES = {"re2.max_program_size.error_level": 50_000}
"""Allows patterns for names of 200 characters in any script and spelling. Audiences' patterns have other limits."""


@dataclass(frozen=True, kw_only=True)
class Outside:
    """The listener for callers on other hosts: the same port of another address, over TLS, with a token."""

    host: str
    certificate: Path
    """A PEM file of certificate and key. Envoy watches its folder and reads it again when it is replaced."""
    token: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Places:
    """Envoy's files, sockets and ports."""

    folder: Path
    admin_socket: Path
    shadow_socket: Path
    detour_socket: Path
    generated_socket: Path
    logs: Path
    host: str
    port: int
    outside: Outside | None = None
    """None if only callers on this host are answered."""

    @property
    def listening(self) -> tuple[tuple[str, int], ...]:
        """Address and port of every listener that callers reach."""
        hosts = (self.host,) if self.outside is None else (self.host, self.outside.host)
        return tuple((host, self.port) for host in hosts)

    @property
    def tls(self) -> Path:
        """The file that tells Envoy where the certificate is."""
        return self.folder / "tls.json"

    @property
    def addresses(self) -> Path:
        return self.folder / ADDRESSES

    @property
    def clusters(self) -> Path:
        return self.folder / CLUSTERS_FILE

    @property
    def routes(self) -> Path:
        return self.folder / ROUTES_FILE


def bootstrap(places: Places, limits: Limits, spans: SpanReceiver | None = None) -> Resource:
    """The configuration with which Envoy starts. Clusters and routes come from the watched files."""
    return {
        "node": {"id": "sluice", "cluster": "sluice"},
        "admin": {
            "address": {"pipe": {"path": str(places.admin_socket), "mode": 0o600}},
            "ignore_global_conn_limit": True,
        },
        "dynamic_resources": {"cds_config": watched(places.clusters)},
        "static_resources": {
            "listeners": [
                _live(places, limits, spans),
                *([] if places.outside is None else [_outside(places, places.outside, limits, spans)]),
                _detour(places, limits),
                _shadow(places, limits),
                _generated(places, limits),
            ],
            "clusters": [*detours(limits, str(places.detour_socket)), export_cluster(spans)],
        },
        "overload_manager": overload(limits),
        "layered_runtime": {"layers": [{"name": "ours", "static_layer": _runtime(limits)}]},
        "stats_config": {"stats_matcher": {"exclusion_list": {"patterns": [{"suffix": "_bucket"}]}}},
    }


def _runtime(limits: Limits) -> Resource:
    """Runtime settings. Anybody can open connections from other hosts; their limit keeps some for this host."""
    most = {f"envoy.resource_limits.listener.{OUTSIDE}.connection_limit": limits.outside_connections}
    return {**_JOIN_REPEATED_HEADERS, **_LONG_NAMES, **most}


def _live(places: Places, limits: Limits, spans: SpanReceiver | None) -> Resource:
    return {
        "name": LIVE,
        "address": address(places.host, places.port),
        "per_connection_buffer_limit_bytes": limits.buffer_bytes,
        "listener_filters_timeout": seconds(limits.headers_seconds),
        "listener_filters": [_HTTP_INSPECTOR],
        "filter_chains": [
            {
                "name": "http2",
                "filter_chain_match": {"application_protocols": ["h2c"]},
                "filters": [_at_most(limits.http2_connections), _live_manager(places, limits, spans)],
            },
            {"name": "http1", "filters": [_live_manager(places, limits, spans)]},
        ],
    }


def _outside(places: Places, outside: Outside, limits: Limits, spans: SpanReceiver | None) -> Resource:
    """The listener for callers on other hosts, over TLS."""
    manager = _live_manager(places, limits, spans, _token_required(outside.token))
    http1_manager = _live_manager(places, limits, spans, _token_required(outside.token), codec="HTTP1")
    tls_options = {"alpn_protocols": ["h2", "http/1.1"], "tls_certificate_sds_secret_configs": [_secret(places)]}
    chain: Resource = {
        "transport_socket": extension(
            "envoy.transport_sockets.tls",
            "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            common_tls_context={"tls_params": {"tls_minimum_protocol_version": "TLSv1_2"}, **tls_options},
        ),
        "transport_socket_connect_timeout": seconds(limits.headers_seconds),
    }
    http2: Resource = {"filter_chain_match": {"application_protocols": ["h2"]}}
    return {
        "name": OUTSIDE,
        "address": address(outside.host, places.port),
        "freebind": True,
        "per_connection_buffer_limit_bytes": limits.buffer_bytes,
        "listener_filters_timeout": seconds(limits.headers_seconds),
        "listener_filters": [_TLS_INSPECTOR],
        "filter_chains": [
            {"name": "http2", **http2, "filters": [_at_most(limits.http2_connections), manager], **chain},
            {"name": "http1", "filters": [http1_manager], **chain},
        ],
    }


def _secret(places: Places) -> Resource:
    return {"name": OUTSIDE, "sds_config": watched(places.tls)}


def _token_required(token: str) -> Resource:
    """Answers 401 to callers without the token, and removes the token from requests to services."""
    return extension(
        "envoy.filters.http.api_key_auth",
        "envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth",
        credentials=[{"key": token, "client": "caller"}],
        key_sources=[{"header": "authorization"}],
        forwarding={"hide_credentials": True},
    )


_TLS_INSPECTOR = extension(
    "envoy.filters.listener.tls_inspector", "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
)
_HTTP_INSPECTOR = extension(
    "envoy.filters.listener.http_inspector", "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector"
)


def _at_most(connections: int) -> Resource:
    """Closes connections beyond this number."""
    kind = "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit"
    return extension("envoy.filters.network.connection_limit", kind, stat_prefix="http2", max_connections=connections)


def _live_manager(
    places: Places, limits: Limits, spans: SpanReceiver | None, *first: Resource, codec: str = "AUTO"
) -> Resource:
    """The connection manager for callers. `first`: filters before all others."""
    return _manager(
        stat_prefix=LIVE,
        codec_type=codec,
        use_remote_address=True,
        normalize_path=True,
        path_with_escaped_slashes_action="REJECT_REQUEST",
        early_header_mutation_extensions=[_strip_internal()],
        max_request_headers_kb=limits.header_kilobytes,
        request_timeout=seconds(limits.receive_seconds),
        request_headers_timeout=seconds(limits.headers_seconds),
        stream_idle_timeout=seconds(limits.idle_seconds),
        common_http_protocol_options={
            "idle_timeout": seconds(limits.idle_seconds),
            "max_headers_count": limits.header_count,
            "headers_with_underscores_action": "ALLOW",
        },
        http_protocol_options={"accept_http_10": True, "default_host_for_http_10": "sluice"},
        http2_protocol_options={
            "max_concurrent_streams": limits.streams,
            "initial_stream_window_size": 256 * 1024,
            "initial_connection_window_size": 1024 * 1024,
        },
        http_filters=[
            *first,
            _readiness(),
            audience_filter(),
            body_limit(limits.small_bytes),
            _take_prediction(),
            _ROUTER,
        ],
        access_log=[_access_log(places, LIVE, not_passed_on())],
        tracing=tracing(spans),
        **_routing(places),
    )


def _routing(places: Places) -> Resource:
    """Settings of every listener whose requests go through the routes."""
    return {
        "server_name": "sluice",
        "always_set_request_id_in_response": True,
        "request_id_extension": {"typed_config": _REQUEST_ID},
        "rds": {"route_config_name": ROUTES, "config_source": watched(places.routes)},
        "local_reply_config": _local_replies(),
    }


def _detour(places: Places, limits: Limits) -> Resource:
    """The listener to which large bodies are sent on, with the headers as the first listener set them, and buffered."""
    manager = _manager(
        stat_prefix=DETOUR,
        codec_type="HTTP1",
        preserve_external_request_id=True,
        max_request_headers_kb=2 * limits.header_kilobytes,
        stream_idle_timeout=seconds(limits.idle_seconds),
        common_http_protocol_options={
            "idle_timeout": seconds(limits.idle_seconds),
            "max_headers_count": 2 * limits.header_count,
        },
        http_filters=[audience_filter(), body_limit(limits.body_bytes), unmark(), _take_prediction(), _ROUTER],
        access_log=[_access_log(places, LIVE)],
        **_routing(places),
    )
    return _inside(DETOUR, places.detour_socket, manager, limits)


def _shadow(places: Places, limits: Limits) -> Resource:
    """The listener for copies, on a socket, so that their answers are logged like all others."""
    route = {
        "match": {"prefix": "/"},
        "route": {"cluster_header": CLUSTER_HEADER, "timeout": seconds(limits.receive_seconds)},
        "request_headers_to_remove": [CLUSTER_HEADER],
    }
    manager = _manager(
        stat_prefix=SHADOW,
        codec_type="HTTP1",
        stream_idle_timeout=seconds(limits.idle_seconds),
        common_http_protocol_options={"idle_timeout": seconds(limits.idle_seconds)},
        route_config={"virtual_hosts": [{"name": SHADOW, "domains": ["*"], "routes": [route]}]},
        http_filters=[_time_limit(), _take_prediction(), _ROUTER],
        access_log=[_access_log(places, SHADOW)],
    )
    return _inside(SHADOW, places.shadow_socket, manager, limits)


def _generated(places: Places, limits: Limits) -> Resource:
    """The listener for generated requests. They take the callers' routes and have their own log.

    What marks them is this listener, which nobody else can reach, so no header can make a caller's request count as
    generated.
    """
    manager = _manager(
        stat_prefix=GENERATED,
        codec_type="HTTP1",
        early_header_mutation_extensions=[_strip_internal({DETOUR_HEADER: "1", GENERATED_HEADER: "1"})],
        stream_idle_timeout=seconds(limits.idle_seconds),
        common_http_protocol_options={"idle_timeout": seconds(limits.idle_seconds)},
        http_filters=[audience_filter(), body_limit(limits.body_bytes), unmark(), _take_prediction(), _ROUTER],
        access_log=[_access_log(places, GENERATED)],
        **_routing(places),
    )
    return _inside(GENERATED, places.generated_socket, manager, limits)


def _inside(name: str, socket: Path, manager: Resource, limits: Limits) -> Resource:
    """A listener on a socket that only its owner can use: Envoy itself, or the generator."""
    return {
        "name": name,
        "address": {"pipe": {"path": str(socket), "mode": 0o600}},
        "per_connection_buffer_limit_bytes": limits.buffer_bytes,
        "ignore_global_conn_limit": True,
        "filter_chains": [{"filters": [manager]}],
    }


def _manager(**fields: object) -> Resource:
    kind = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    return extension("envoy.filters.network.http_connection_manager", kind, **fields)


_REQUEST_ID = message(
    "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
    pack_trace_reason=False,
    use_request_id_for_trace_sampling=False,
)
_ROUTER = extension(
    "envoy.filters.http.router",
    "envoy.extensions.filters.http.router.v3.Router",
    suppress_envoy_headers=False,
    dynamic_stats=False,  # nobody reads these statistics, and each request pays for them
)


def _strip_internal(internal: Mapping[str, str] = MappingProxyType({})) -> Resource:
    """Removes the request id and internal headers that a caller sent, then sets the `internal` ones."""
    prefixes = [{"remove_on_match": {"key_matcher": {"prefix": prefix}}} for prefix in _INTERNAL]
    added = [{"append": set_header(name, value)} for name, value in internal.items()]
    return extension(
        "envoy.http.early_header_mutation.header_mutation",
        "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[{"remove": "x-request-id"}, *prefixes, *added],
    )


def _readiness() -> Resource:
    """Answers 503 once `healthcheck/fail` was called, so that a load balancer stops sending requests while it drains.

    Until then the routes answer: a gateway is ready when it holds a table. Disabled unless the route enables it, so
    that no other request pays for it.
    """
    kind = "envoy.extensions.filters.http.health_check.v3.HealthCheck"
    path = header_is(":path", READY_PATH)
    return {**extension(READINESS, kind, pass_through_mode=True, headers=[path]), "disabled": True}


def _time_limit() -> Resource:
    """A copy's own time limit, so that the log shows a timeout rather than a connection cut by the live listener."""
    kind = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
    header = {"key": "x-envoy-upstream-rq-timeout-ms", "value": f"%REQ({TIMEOUT_HEADER})%"}
    mutations = {"request_mutations": [{"append": {"header": header}}]}
    return extension("envoy.filters.http.header_mutation", kind, mutations=mutations)


def _take_prediction() -> Resource:
    """Moves the prediction summary from the service's response headers into the log."""
    rule = {
        "header": PREDICTION_HEADER,
        "on_header_present": {"metadata_namespace": METADATA, "key": "prediction", "type": "STRING"},
        "remove": True,
    }
    kind = "envoy.extensions.filters.http.header_to_metadata.v3.Config"
    return extension("envoy.filters.http.header_to_metadata", kind, response_rules=[rule])


def _access_log(places: Places, log: str, only: Resource | None = None) -> Resource:
    logger = extension(
        "envoy.access_loggers.file",
        "envoy.extensions.access_loggers.file.v3.FileAccessLog",
        path=str(places.logs / f"{log}.jsonl"),
        log_format={"json_format": log_format(log)},
    )
    return logger if only is None else {**logger, "filter": only}


def _local_replies() -> Resource:
    """Formats the gateway's own answers as JSON: errors in one form, successful answers as they are."""
    body: Resource = {
        "error": "%LOCAL_REPLY_BODY%",
        "reason": "%RESPONSE_CODE_DETAILS%",
        "request_id": "%REQ(X-REQUEST-ID)%",
    }
    is_fine = {"comparison": {"op": "EQ", "value": {"default_value": 200, "runtime_key": "local_reply.fine"}}}
    as_it_is = {"text_format_source": {"inline_string": "%LOCAL_REPLY_BODY%"}, "content_type": "application/json"}
    mapper = {"filter": {"status_code_filter": is_fine}, "body_format_override": as_it_is}
    unreadable = body | {"error": "the gateway cannot read this request: %RESPONSE_CODE_DETAILS%"}
    is_unreadable = {
        "comparison": {"op": "EQ", "value": {"default_value": 400, "runtime_key": "local_reply.unreadable"}}
    }
    unreadable_mapper = {
        "filter": {"status_code_filter": is_unreadable},
        "body_format_override": {"json_format": unreadable},
    }
    return {"mappers": [mapper, unreadable_mapper, _busy(body)], "body_format": {"json_format": body}}


def _busy(body: Resource) -> Resource:
    """Adds retry-after only if a circuit breaker is open: a retry helps once other requests have finished."""
    return {
        "filter": {"response_flag_filter": {"flags": ["UO"]}},
        "headers_to_add": [set_header("retry-after", "1")],
        "body_format_override": {"json_format": body | {"error": "too many such requests are under way; try again"}},
    }
