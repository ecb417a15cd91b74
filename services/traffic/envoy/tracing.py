"""Traces: the gateway passes `traceparent` on, starts a trace if there is none, and exports spans if asked to. Pure.

Envoy's own tracer does this: the request to the service names the gateway's span as its parent, in the caller's trace.
Without a receiver, spans go to a cluster without hosts, so no connection is made, and traces that the gateway starts
are marked as not sampled.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from sluicegate.registry.words.spans import SpanReceiver
from sluicegate.services.traffic.envoy.log_format import ASSIGNED_HEADER, METADATA
from sluicegate.services.traffic.envoy.resources import Resource, address, extension, seconds

SERVICE = "sluicegate-gateway"
_CLUSTER = "otlp"
_CONNECT_SECONDS, _SEND_SECONDS = 1.0, 5.0
_PORT = 4318
"""The default port of OTLP over HTTP."""


_NOWHERE = SpanReceiver(url="http://nowhere.invalid/v1/traces")


def tracing(receiver: SpanReceiver | None) -> Resource:
    """The live listener's tracing configuration."""
    kind = "envoy.config.trace.v3.OpenTelemetryConfig"
    sent = _service(receiver or _NOWHERE)
    return {
        "provider": extension(
            "envoy.tracers.opentelemetry", kind, service_name=SERVICE, http_service=sent, sampler=_sampler(receiver)
        ),
        "custom_tags": [
            {"tag": "sluice.assigned", "request_header": {"name": ASSIGNED_HEADER}},
            _tag("sluice.place", "route", "place"),
            _tag("sluice.build", "host", "build"),
        ],
    }


def export_cluster(receiver: SpanReceiver | None) -> Resource:
    """The cluster to which spans are sent; without a receiver it has no hosts."""
    place = urlsplit((receiver or _NOWHERE).url)
    host = {"endpoint": {"address": address(place.hostname or "", place.port or _PORT)}}
    return {
        "name": _CLUSTER,
        "type": "STATIC" if receiver is None else "STRICT_DNS",
        "connect_timeout": seconds(_CONNECT_SECONDS),
        "load_assignment": {
            "cluster_name": _CLUSTER, "endpoints": [] if receiver is None else [{"lb_endpoints": [host]}],
        },
    }  # fmt: skip


def _sampler(receiver: SpanReceiver | None) -> Resource:
    """Follows the caller's sampling decision. Samples traces that begin here only if spans are exported."""
    kind, samplers = "envoy.extensions.tracers.opentelemetry.samplers.v3", "envoy.tracers.opentelemetry.samplers"
    share = {"numerator": 0 if receiver is None else 100, "denominator": "HUNDRED"}
    begun = extension(
        f"{samplers}.trace_id_ratio_based", f"{kind}.TraceIdRatioBasedSamplerConfig", sampling_percentage=share
    )
    return extension(f"{samplers}.parent_based", f"{kind}.ParentBasedSamplerConfig", wrapped_sampler=begun)


def _service(receiver: SpanReceiver) -> Resource:
    added = [{"header": {"key": key, "value": value.replace("%", "%%")}} for key, value in receiver.headers]
    uri = {"uri": receiver.url, "cluster": _CLUSTER, "timeout": seconds(_SEND_SECONDS)}
    return {"http_uri": uri, "request_headers_to_add": added}


def _tag(name: str, kind: str, key: str) -> Resource:
    where = {"key": METADATA, "path": [{"key": key}]}
    return {"tag": name, "metadata": {"kind": {kind: {}}, "metadata_key": where}}
