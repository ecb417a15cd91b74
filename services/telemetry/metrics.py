"""Metrics: what the telemetry counts, in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from services.telemetry.queries import ArmSeen, Queries


def exposition(queries: Queries, *, models: Sequence[str] = (), rollouts: Sequence[str] = ()) -> bytes:
    """The text of a scrape: counters, what waits, the last minute of each model's builds, each rollout's requests."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(queries, models, rollouts))
    return generate_latest(registry)


class _Families:
    """The families of one scrape, as prometheus_client asks for them."""

    def __init__(self, queries: Queries, models: Sequence[str], rollouts: Sequence[str]) -> None:
        self._queries = queries
        self._models = models
        self._rollouts = rollouts

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        counted = CounterMetricFamily("sluice_telemetry", "What the collector and the intake counted.", labels=["what"])
        for count, n in self._queries.counters().items():
            counted.add_metric([count.value], n)
        yield counted
        waiting = GaugeMetricFamily("sluice_telemetry_waiting", "What waits to be tallied.", labels=["what"])
        for what, n in self._queries.waiting().items():
            waiting.add_metric([what], n)
        yield waiting
        yield from self._builds()
        yield self._requests()

    def _builds(self) -> Iterator[Metric]:
        labels = ["model", "variation", "build"]
        rate = GaugeMetricFamily("sluice_build_requests_per_second", "Requests assigned, last minute.", labels=labels)
        errors = GaugeMetricFamily(
            "sluice_build_error_share", "Share of them that failed or were abandoned.", labels=labels
        )
        shown = {
            q: GaugeMetricFamily(f"sluice_build_{q}_seconds", f"Duration that {q[1:]} % stay below.", labels=labels)
            for q in ("p50", "p95", "p99")
        }
        for model in self._models:
            for recent in self._queries.recent(model):
                of = [model, recent.variation, recent.build]
                rate.add_metric(of, recent.requests_per_second)
                errors.add_metric(of, recent.error_share)
                for q, family in shown.items():
                    if (value := getattr(recent, q)) is not None:
                        family.add_metric(of, value)
        yield from (rate, errors, *shown.values())

    def _requests(self) -> Metric:
        labels = ["rollout", "arm", "end"]
        family = CounterMetricFamily("sluice_rollout_requests", "Requests by arm and end.", labels=labels)
        for rollout in self._rollouts:
            seen = self._queries.seen(rollout)
            for arm, requests in (("stable", seen.stable), ("candidate", seen.candidate)):
                for end, n in _ends(requests):
                    family.add_metric([rollout, arm, end], n)
        return family


def _ends(seen: ArmSeen) -> tuple[tuple[str, int], ...]:
    succeeded = seen.requests - seen.abandoned - seen.failed
    return ("succeeded", succeeded), ("failed", seen.failed), ("abandoned", seen.abandoned)
