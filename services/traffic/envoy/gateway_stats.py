"""What the gateway says about itself, from Envoy's statistics. Pure but for the asking."""

from __future__ import annotations

from sluicegate.services.traffic.envoy.admin import Admin
from sluicegate.services.traffic.envoy.names import LIVE

_CODES = ("2xx", "3xx", "4xx", "5xx")
_NAMES = {
    f"http.{LIVE}.downstream_rq_active": "active_requests",
    f"http.{LIVE}.downstream_cx_active": "active_connections",
    f"http.{LIVE}.downstream_rq_rx_reset": "abandoned",
    "cluster_manager.cds.update_rejected": "refused_configurations",
    "filesystem.write_failed": "failed_log_writes",
    "server.uptime": "uptime_seconds",
} | {f"http.{LIVE}.downstream_rq_{code}": f"answers.{code}" for code in _CODES}
NAMES = tuple(_NAMES.values())
"""What is told."""
_PATTERN = rf"^(http\.{LIVE}\..*|cluster_manager\.cds\.update_rejected|filesystem\.write_failed|server\.uptime)$"


def gateway_stats(admin: Admin) -> dict[str, float]:
    """Counts since Envoy started, and what is so now, by name. Raises Unreachable."""
    stats = admin.stats(_PATTERN)
    counts = {ours: float(stats.get(theirs, 0)) for theirs, ours in _NAMES.items()}
    routes = (float(value) for name, value in stats.items() if ".rds." in name and name.endswith(".update_rejected"))
    counts["refused_configurations"] += sum(routes)
    return counts
