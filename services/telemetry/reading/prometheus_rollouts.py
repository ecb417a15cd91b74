"""Prometheus metrics of rollouts: their state, their gates' verdicts, and the requests of both builds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from sluicegate.registry.report.report import ArmCounts
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.access_log import End
from sluicegate.registry.words.metric import Arm
from sluicegate.registry.words.verdict import Answer
from sluicegate.services.telemetry.reading.queries import Latency, Queries
from sluicegate.services.telemetry.tally.histogram import BINS, edge

_STEP = 5
"""The number of bins in one exported bucket, which makes four buckets per factor of ten."""


def standing(rollouts: Sequence[Rollout]) -> Iterator[Metric]:
    """The metrics of these rollouts that come from the ledger."""
    yield from _standing(rollouts)
    yield _verdicts(rollouts)


def counted(queries: Queries, rollouts: Sequence[Rollout]) -> Iterator[Metric]:
    """The metrics of these rollouts that come from the telemetry. Raises Unreachable."""
    yield _requests(queries, rollouts)
    yield _generated(queries, rollouts)
    yield _latencies(queries, rollouts)


def _standing(rollouts: Sequence[Rollout]) -> Iterator[Metric]:
    labels = ["rollout", "model", "variation", "candidate", "phase"]
    phase = GaugeMetricFamily("sluice_rollout_info", "1 for each rollout that has not ended.", labels=labels)
    weight = GaugeMetricFamily("sluice_rollout_weight_ratio", "The candidate's desired share.", labels=["rollout"])
    step = GaugeMetricFamily("sluice_rollout_step", "The step under way, from 1; 0 before.", labels=["rollout"])
    for each in rollouts:
        requested = each.requested
        phase.add_metric([each.id, requested.model, requested.variation, requested.version, each.phase.value], 1)
        weight.add_metric([each.id], each.weight / 10_000)
        step.add_metric([each.id], each.step + 1)
    yield from (phase, weight, step)


def _verdicts(rollouts: Sequence[Rollout]) -> Metric:
    what = "1 for the answer on record of each gate, 0 for the others."
    family = GaugeMetricFamily("sluice_rollout_verdict", what, labels=["rollout", "metric", "answer"])
    for each in rollouts:
        for metric, judged in each.judgements.items():
            for answer in Answer:
                family.add_metric([each.id, metric, answer.value], float(judged.answer == answer.value))
    return family


def _requests(queries: Queries, rollouts: Sequence[Rollout]) -> Metric:
    labels = ["rollout", "arm", "end"]
    family = CounterMetricFamily("sluice_rollout_requests", "Requests by arm and how they ended.", labels=labels)
    for (rollout, _), seen in queries.all_requests_by_arm([(each.id, None) for each in rollouts]).items():
        for arm, requests in ((Arm.STABLE, seen.stable), (Arm.CANDIDATE, seen.candidate)):
            for end, n in _ends(requests):
                family.add_metric([rollout, arm.value, end], n)
    return family


def _generated(queries: Queries, rollouts: Sequence[Rollout]) -> Metric:
    what = "Requests that Sluicegate sent itself, by arm; in no other count of requests."
    family = CounterMetricFamily("sluice_generated_requests", what, labels=["rollout", "arm"])
    for rollout, sent in queries.generated([each.id for each in rollouts]).items():
        for arm in Arm:
            family.add_metric([rollout, arm.value], sent.get(arm, 0))
    return family


def _ends(counts: ArmCounts) -> tuple[tuple[str, int], ...]:
    return tuple((end.value, counts.ends.get(end, 0)) for end in End)


def _latencies(queries: Queries, rollouts: Sequence[Rollout]) -> Metric:
    what = "How long callers waited, by arm."
    family = HistogramMetricFamily("sluice_rollout_latency_seconds", what, labels=["rollout", "arm"])
    for rollout, arms in queries.latencies([each.id for each in rollouts]).items():
        for arm, latency in arms.items():
            family.add_metric([rollout, arm.value], buckets=_buckets(latency), sum_value=None)
    return family


def _buckets(latency: Latency) -> list[tuple[str, float]]:
    """Cumulative counts at the end of every fifth bin, and the total."""
    ends = range(_STEP, BINS, _STEP)
    below = [(f"{edge(end):.6g}", float(sum(n for at, n in latency.counts.items() if at < end))) for end in ends]
    return [*below, ("+Inf", float(latency.requests))]
