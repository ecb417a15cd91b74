"""Overload: limits on connections and memory beyond which Envoy turns callers away."""

from __future__ import annotations

from sluicegate.services.traffic.envoy.limits import Limits
from sluicegate.services.traffic.envoy.resources import Resource, extension


def overload(limits: Limits, refuse: str = "stop_accepting_requests") -> Resource:
    """Limits connections. Near the memory limit Envoy first frees memory, then refuses new requests or connections."""
    connections = "envoy.resource_monitors.global_downstream_max_connections"
    heap = "envoy.resource_monitors.fixed_heap"
    monitors = "envoy.extensions.resource_monitors"
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            extension(
                connections,
                f"{monitors}.downstream_connections.v3.DownstreamConnectionsConfig",
                max_active_downstream_connections=limits.connections,
            ),
            extension(heap, f"{monitors}.fixed_heap.v3.FixedHeapConfig", max_heap_size_bytes=limits.heap_bytes),
        ],
        "actions": [
            _above("envoy.overload_actions.shrink_heap", heap, 0.9),
            _above(f"envoy.overload_actions.{refuse}", heap, 0.97),
        ],
    }


def _above(action: str, monitor: str, share: float) -> Resource:
    return {"name": action, "triggers": [{"name": monitor, "threshold": {"value": share}}]}
