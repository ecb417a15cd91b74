"""docs/reference/grafana.json: the dashboard for Grafana, as it is imported there."""

from __future__ import annotations

import json
from dataclasses import dataclass

_WIDTH, _HEIGHT = 12, 8
_SOURCE = {"type": "prometheus", "uid": "${source}"}


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One chart: what it shows, and the expressions with the name of each line."""

    title: str
    unit: str
    lines: tuple[tuple[str, str], ...]


PANELS = (
    Panel(title="Gateway: answers", unit="reqps", lines=(
        ("sum by (code) (rate(sluice_gateway_answers_total[1m]))", "{{code}}"),
    )),
    Panel(title="Gateway: under way", unit="short", lines=(
        ("sluice_gateway_active_requests", "requests"),
        ("sluice_gateway_active_connections", "connections"),
        ("sluice_gateway_waiting_bodies", "{{size}} bodies that wait"),
    )),
    Panel(title="Gateway: what should be 0", unit="short", lines=(
        ("1 - sluice_gateway_up", "down"),
        ("sluice_gateway_stable_only", "{{gateway}}: stable builds only"),
        ("1 - sluice_ledger_up", "ledger down"),
        ("1 - sluice_telemetry_up", "telemetry down"),
        ("increase(sluice_gateway_refused_bodies_total[5m])", "{{size}} bodies refused"),
        ("increase(sluice_gateway_refused_connections_total[5m])", "connections refused"),
        ("sluice_rollouts_untended", "rollouts that cannot be judged"),
        ("sluice_blind", "blind: {{listener}}"),
        ("sluice_rollouts_overdue", "weights not in force"),
        ("sluice_rollouts_undriven", "rollouts without a driver"),
        ("increase(sluice_gateway_refused_configurations_total[5m])", "refused configurations"),
        ("increase(sluice_gateway_failed_log_writes_total[5m])", "log lines lost"),
    )),
    Panel(title="Rollouts that wait for a person", unit="short", lines=(("sluice_rollouts_waiting", "rollouts"),)),
    Panel(title="State folder: disk free", unit="percentunit", lines=(("sluice_state_disk_free_ratio", "free"),)),
    Panel(title="Requests per second, by variation and build", unit="reqps", lines=(
        ('sluice_build_requests_per_second{model=~"$model"}', "{{model}} {{variation}} v{{build}}"),
    )),
    Panel(title="Error share, by variation and build", unit="percentunit", lines=(
        ('sluice_build_error_share{model=~"$model"}', "{{model}} {{variation}} v{{build}}"),
    )),
    Panel(title="p95, by variation and build", unit="s", lines=(
        ('sluice_build_p95_seconds{model=~"$model"}', "{{model}} {{variation}} v{{build}}"),
    )),
    Panel(title="p50 and p99, by variation and build", unit="s", lines=(
        ('sluice_build_p50_seconds{model=~"$model"}', "p50 {{model}} {{variation}} v{{build}}"),
        ('sluice_build_p99_seconds{model=~"$model"}', "p99 {{model}} {{variation}} v{{build}}"),
    )),
    Panel(title="Inside the services: mean time of a request, by stage", unit="s", lines=(
        (('sum by (model, build, stage) (rate(sluice_service_seconds_sum{model=~"$model"}[1m])) '
         '/ sum by (model, build, stage) (rate(sluice_service_seconds_count{model=~"$model"}[1m]))'),
         "{{stage}} {{model}} v{{build}}"),
    )),
    Panel(title="Rollouts: weight asked", unit="percentunit", lines=(
        (("sluice_rollout_weight_ratio * on (rollout) group_left (model, variation, candidate, phase) "
         'sluice_rollout_info{model=~"$model"}'), "{{model}} {{variation}} v{{candidate}} {{phase}}"),
    )),
    Panel(title="Rollouts: share seen", unit="percentunit", lines=(
        (('sum by (rollout) (rate(sluice_rollout_requests_total{arm="candidate"}[5m])) '
         "/ sum by (rollout) (rate(sluice_rollout_requests_total[5m]))"), "{{rollout}}"),
    )),
    Panel(title="Rollouts: errors by cause", unit="percentunit", lines=(
        (('sum by (rollout, arm, end) (rate(sluice_rollout_requests_total{end!~"answered|closed"}[5m])) '
         "/ on (rollout, arm) group_left sum by (rollout, arm) (rate(sluice_rollout_requests_total[5m]))"),
         "{{rollout}} {{arm}} {{end}}"),
    )),
    Panel(title="Rollouts: p99 by arm", unit="s", lines=(
        ("histogram_quantile(0.99, sum by (rollout, arm, le) (rate(sluice_rollout_latency_seconds_bucket[5m])))",
         "{{rollout}} {{arm}}"),
    )),
    Panel(title="Rollouts: gates that fail", unit="short", lines=(
        ('sum by (rollout, metric) (sluice_rollout_verdict{answer="fail"})', "{{rollout}} {{metric}}"),
    )),
    Panel(title="Collector: lines and outcomes", unit="cps", lines=(
        ('rate(sluice_telemetry_total{what=~"lines|outcomes|scored"}[1m])', "{{what}}"),
    )),
    Panel(title="Collector: backlog", unit="decbytes", lines=(
        ("sluice_collector_unread_bytes", "unread"),
    )),
    Panel(title="Requests without a line", unit="short", lines=(
        ("sluice_missing_requests", "{{gateway}}"),
    )),
    Panel(title="Collector: waits", unit="s", lines=(
        ("sluice_collector_waiting_seconds", "since the last line, while there are some"),
    )),
    Panel(title="Collector: set aside, refused, unknown", unit="cps", lines=(
        ('rate(sluice_telemetry_total{what=~"quarantined|refused|unknown|too_late|future|contradictory|untallied"}[5m])',
         "{{what}}"),
        ("sluice_telemetry_waiting", "waiting: {{what}}"),
    )),
)  # fmt: skip


def page() -> str:
    """The dashboard as JSON."""
    board = {
        "title": "Sluicegate",
        "uid": "sluicegate",
        "schemaVersion": 39,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_source(), _model()]},
        "panels": [_panel(number, panel) for number, panel in enumerate(PANELS)],
    }
    return json.dumps(board, indent=2) + "\n"


def _panel(number: int, panel: Panel) -> dict[str, object]:
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": {"x": number % 2 * _WIDTH, "y": number // 2 * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + at), "expr": expression, "legendFormat": legend}
            for at, (expression, legend) in enumerate(panel.lines)
        ],
    }


def _source() -> dict[str, object]:
    return {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _model() -> dict[str, object]:
    query = "label_values(sluice_build_requests_per_second, model)"
    return {
        "name": "model", "type": "query", "datasource": _SOURCE, "query": query, "refresh": 2, "includeAll": True,
        "multi": True, "current": {"text": "All", "value": "$__all"},
    }  # fmt: skip
