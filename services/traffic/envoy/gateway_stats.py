"""The gateway's own figures, from Envoy's statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sluicegate.services.traffic.envoy.admin import Admin
from sluicegate.services.traffic.envoy.names import DETOUR, DETOURS, LARGE, LIVE, MEDIUM, SHADOW

_CODES = ("2xx", "3xx", "4xx", "5xx")
_NAMES = {
    f"http.{LIVE}.downstream_rq_active": "active_requests",
    f"http.{LIVE}.downstream_cx_active": "active_connections",
    f"http.{LIVE}.downstream_rq_rx_reset": "abandoned",
    "cluster_manager.cds.update_rejected": "refused_configurations",
    "filesystem.write_failed": "failed_log_writes",
    "server.uptime": "uptime_seconds",
} | {f"http.{LIVE}.downstream_rq_{code}": f"answers.{code}" for code in _CODES}
for _budget, _size in ((MEDIUM, "medium"), (LARGE, "large")):
    _NAMES[f"cluster.{_budget}.upstream_rq_pending_active"] = f"waiting_bodies.{_size}"
    _NAMES[f"cluster.{_budget}.upstream_rq_pending_overflow"] = f"refused_bodies.{_size}"
_REFUSED = "refused_connections"
NAMES = (*_NAMES.values(), _REFUSED)
"""The names of the figures."""
_PATTERN = (
    rf"^(http\.{LIVE}\..*|cluster_manager\.cds\.update_rejected|filesystem\.write_failed|server\.uptime"
    r"|listener\..*\.downstream_(global_)?cx_overflow|cluster\.\*.*\.upstream_rq_pending_(active|overflow))$"
)


@dataclass(frozen=True, kw_only=True)
class ServedCounts:
    """What the access logs should contain, by Envoy's counts since it started."""

    ended: dict[str, int]
    """Completed requests by listener. Each writes one line."""
    buffered: int
    """Bytes of all logs that Envoy has not written yet."""
    failed_writes: int


def served(admin: Admin) -> ServedCounts:
    """What Envoy has served so far. Raises Unreachable."""
    counts = r"http\.(live|detour|shadow)\.downstream_rq_(total|active)|cluster\.\*.*\.upstream_rq_(total|active)"
    stats = admin.stats(rf"^({counts}|filesystem\.(write_failed|reopen_failed|write_total_buffered))$")

    def past(name: str) -> int:
        return int(stats.get(f"{name}_total", 0)) - int(stats.get(f"{name}_active", 0))

    ended = {listener: past(f"http.{listener}.downstream_rq") for listener in (LIVE, SHADOW)}
    passed_on = sum(past(f"cluster.{name}.upstream_rq") for name in DETOURS)
    ended[LIVE] += past(f"http.{DETOUR}.downstream_rq") - passed_on  # a caller may disconnect on the way
    failed = sum(int(stats.get(f"filesystem.{kind}_failed", 0)) for kind in ("write", "reopen"))
    return ServedCounts(
        ended=ended, buffered=int(stats.get("filesystem.write_total_buffered", 0)), failed_writes=failed
    )  # fmt: skip


def added(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The sums of several gateways' figures. The uptime is that of the gateway that started last."""
    uptime = "uptime_seconds"
    summed = {name: sum(each.get(name, 0.0) for each in figures) for each in figures for name in each}
    return summed | {uptime: min(each[uptime] for each in figures)}


def gateway_stats(admin: Admin) -> dict[str, float]:
    """Counters since Envoy started, and current gauges, by name. Raises Unreachable."""
    stats = admin.stats(_PATTERN)
    counts = {ours: float(stats.get(theirs, 0)) for theirs, ours in _NAMES.items()}
    routes = (float(value) for name, value in stats.items() if ".rds." in name and name.endswith(".update_rejected"))
    counts["refused_configurations"] += sum(routes)
    counts[_REFUSED] = sum(float(value) for name, value in stats.items() if name.endswith("cx_overflow"))
    return counts
