"""docs/reference/metrics.md: every metric of a scrape, from a scrape of an installation in which nothing happened."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from docs.pages.tables import NOTICE, code, table
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.traffic.envoy.gateway_stats import NAMES

if TYPE_CHECKING:
    from sluicegate.services.telemetry.reading.queries import Queries

_LABELS = {
    "sluice_gateway_answers": "code",
    "sluice_gateway_refused_bodies": "size",
    "sluice_gateway_stable_only": "gateway",
    "sluice_gateway_waiting_bodies": "size",
    "sluice_missing_requests": "gateway, log",
    "sluice_telemetry": "what",
    "sluice_telemetry_waiting": "what",
    "sluice_service_seconds": "model, build, stage, le",
    "sluice_build_": "model, variation, build",
    "sluice_token_expires_in_seconds": "name",
    "sluice_rollout_info": "rollout, model, variation, candidate, phase",
    "sluice_rollout_weight_ratio": "rollout",
    "sluice_rollout_step": "rollout",
    "sluice_rollout_verdict": "rollout, metric, answer",
    "sluice_rollout_requests": "rollout, arm, end",
    "sluice_generated_requests": "rollout, arm",
    "sluice_rollout_latency_seconds": "rollout, arm, le",
}


def families() -> tuple[Metric, ...]:
    """Every family of a scrape."""
    from sluicegate.services.bento.stage_times import stage_family
    from sluicegate.services.telemetry.reading.prometheus import Scrape, exposition
    from sluicegate.services.telemetry.tailing.backlog import Backlog

    with _queries() as queries:
        backlog = Backlog(unread_bytes=0, read_at=None)
        gateway, services = dict.fromkeys(NAMES, 0.0), [stage_family(())]
        text = exposition(queries, Scrape(gateway=gateway, backlog=backlog, free=1.0, families=services)).decode()
    return tuple(text_string_to_metric_families(text))


def page() -> str:
    """The whole page."""
    rows = [(code(_shown(it)), it.type, _labels(it.name), it.documentation) for it in families()]
    counts = [(code(each.value), each.meaning) for each in Count]
    return f"""{NOTICE}
# Metrics

`GET /metrics` of the console answers Prometheus, with a token as everything there. It also answers when the gateway or
the collector are down: `sluice_gateway_up` is 0 then, and `sluice_collector_unread_bytes` grows. The dashboard for
Grafana beside this page, [grafana.json](grafana.json), shows all of it; [alerts.yml](alerts.yml) are rules for alerts
([what each means](../how-to/monitor.md)).

{table(("metric", "type", "labels", "meaning"), rows)}
## What is counted

The values of `what` in `sluice_telemetry_total`. Each counter is exact: it is written in the transaction of what it
counts.

{table(("what", "meaning"), counts)}"""


def _shown(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def _labels(name: str) -> str:
    return _LABELS.get(name) or next(
        (labels for start, labels in _LABELS.items() if start[-1] == "_" and name.startswith(start)), ""
    )


@contextmanager
def _queries() -> Iterator[Queries]:
    from sluicegate.services.telemetry.reading.queries import Queries
    from sluicegate.services.telemetry.store.store import Store

    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{Path(folder) / 'telemetry.db'}", durable=False)
        try:
            yield Queries(store, lambda: datetime.now(UTC))
        finally:
            store.close()
