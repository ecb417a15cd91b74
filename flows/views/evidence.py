"""Evidence: what telemetry adds to a rollout's report."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from sluicegate.flows.stats.share_evidence import share_p_value
from sluicegate.registry.plan.fields import Source
from sluicegate.registry.report.report import (
    ArmLatency,
    Evidence,
    LatencyBin,
    OutcomeCoverage,
    RequestsAtWeight,
    RequestsByArm,
    SampleRatio,
)
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.metric import Arm
from sluicegate.services.telemetry.reading.queries import Latency
from sluicegate.services.telemetry.tally.histogram import UNTIMED, edge

MISMATCH = 0.001
"""A smaller p-value is a mismatch."""


class Telemetry(Protocol):
    """The telemetry that the evidence reads."""

    def all_requests_by_arm(
        self, wanted: Collection[tuple[str, int | None]]
    ) -> Mapping[tuple[str, int | None], RequestsByArm]:
        """Requests by arm of each rollout, in the epoch given with it, or in all epochs."""
        ...

    def coverage(self, rollout: str, metric: str) -> OutcomeCoverage:
        """How many of a metric's outcomes have arrived."""
        ...

    def latencies(self, rollouts: Collection[str]) -> Mapping[str, Mapping[Arm, Latency]]:
        """How long callers of each arm waited, by rollout, over all epochs."""
        ...


def evidence(telemetry: Telemetry, rollout: Rollout, weights: Mapping[int, int]) -> Evidence:
    """Requests by weight, outcomes, latency and the sample ratio. `weights`: desired, by epoch, in basis points."""
    epochs = sorted(weights)
    seen = all_requests_by_arm(telemetry, [(rollout, epoch) for epoch in epochs])
    counted = (
        RequestsAtWeight(epoch=epoch, stable=each.stable, candidate=each.candidate)
        for each, epoch in zip(seen, epochs, strict=True)
    )
    exposures = tuple(each for each in counted if each.stable.requests or each.candidate.requests)
    outcomes = [name for name, metric in rollout.plan.metrics.items() if metric.source is Source.OUTCOME]
    return Evidence(
        exposures=exposures,
        coverage=tuple(telemetry.coverage(rollout.id, name) for name in outcomes),
        latency=_latency(telemetry, rollout),
        sample_ratio=_ratio(rollout, exposures, weights),
    )


def all_requests_by_arm(telemetry: Telemetry, wanted: Sequence[tuple[Rollout, int | None]]) -> list[RequestsByArm]:
    """The requests of both arms of each rollout, in the epoch given with it, or in all epochs.

    For a comparison, stable is the control that all comparisons share.
    """
    keys = {(rollout.id, epoch) for rollout, epoch in wanted}
    shared = {(rollout.requested.experiment, None) for rollout, _ in wanted if rollout.requested.experiment is not None}
    found = telemetry.all_requests_by_arm(keys | shared)
    return [
        found[rollout.id, epoch]
        if rollout.requested.experiment is None
        else replace(found[rollout.id, epoch], stable=found[rollout.requested.experiment, None].stable)
        for rollout, epoch in wanted
    ]


def _latency(telemetry: Telemetry, rollout: Rollout) -> tuple[ArmLatency, ...]:
    """Latency by arm. For a comparison, stable is the control that all comparisons share."""
    shared = rollout.requested.experiment or rollout.id
    latencies = telemetry.latencies({rollout.id, shared})
    arms = {Arm.STABLE: latencies[shared].get(Arm.STABLE), Arm.CANDIDATE: latencies[rollout.id].get(Arm.CANDIDATE)}
    return tuple(
        ArmLatency(
            arm=arm.value, requests=it.requests, p50=1e3 * it.p50, p95=1e3 * it.p95, p99=1e3 * it.p99, bins=_bins(it)
        )
        for arm, it in arms.items()
        if it is not None
    )  # fmt: skip


def _bins(latency: Latency) -> tuple[LatencyBin, ...]:
    return tuple(
        LatencyBin(low=1e3 * edge(number), high=1e3 * edge(number + 1), requests=n)
        for number, n in sorted(latency.counts.items())
        if n and number != UNTIMED
    )


def _ratio(rollout: Rollout, exposures: Sequence[RequestsAtWeight], weights: Mapping[int, int]) -> SampleRatio:
    if rollout.is_shadow:
        return SampleRatio(answer="NOT TESTED", reason="a shadow gets copies only, so there is no split to test")
    if rollout.plan.unit is not None:
        reason = (
            f"a unit's requests stay together ({rollout.plan.unit}), so their shares vary more than single "
            "requests would"
        )
        return SampleRatio(answer="NOT TESTED", reason=reason)
    stretches = [(weights[e.epoch] / 10_000, e.candidate.requests, e.stable.requests) for e in exposures]
    if not any(0 < share < 1 for share, _, _ in stretches):
        return SampleRatio(answer="NOT TESTED", reason="no requests were split")
    p_value = share_p_value(stretches)
    answer = "MISMATCH" if p_value < MISMATCH else "OK"
    reason = "requests are lost or assigned wrongly; the comparison cannot be trusted" if answer == "MISMATCH" else ""
    return SampleRatio(answer=answer, p_value=p_value, reason=reason)
