"""Adds pairs to the tallies that a shadow's gates read: both arms, and their difference on the same request. Pure."""

from __future__ import annotations

from sluicegate.registry.plan.fields import MetricSpec
from sluicegate.registry.words.metric import Arm, capped_name, difference_name
from sluicegate.services.telemetry.pairs.comparison import Comparison, Unpaired
from sluicegate.services.telemetry.pairs.disagreement import differing
from sluicegate.services.telemetry.pairs.pair import Pair, paired_values
from sluicegate.services.telemetry.pairs.spec import ShadowSpec
from sluicegate.services.telemetry.tally.scores import Missing, Summary, Value, score_row
from sluicegate.services.telemetry.tally.tally_accumulator import TallyAccumulator

Stratum = tuple[str, int, int, int]
"""The copy's rollout, epoch, bucket and weight."""


def stratum_of(pair: Pair) -> Stratum:
    """The stratum of a pair, which is that of its copy."""
    copied = pair.copied
    return (copied.rollout or "", copied.epoch, copied.bucket, copied.weight)


def tally_pair(tallies: TallyAccumulator, pair: Pair, comparison: Comparison | Unpaired, spec: ShadowSpec) -> None:
    """Add the metrics that need no label. A pair that cannot be compared counts as missing, not as a match."""
    at = stratum_of(pair)
    if pair.served.failed is None or comparison is Unpaired.OTHER_BUILD:
        return
    for name, stable, candidate in paired_values(pair, spec.metrics.measures):
        take(tallies, at, name, stable, candidate)
    if comparison in (Unpaired.COPY_FAILED, Unpaired.SERVED_FAILED):
        return
    by_metric = {} if isinstance(comparison, Unpaired) else differing(comparison, spec.disagreements)
    for name, _ in spec.disagreements:
        take(tallies, at, name, 0.0, float(by_metric[name]) if name in by_metric else None)


def take_label(
    tallies: TallyAccumulator, at: Stratum, named: tuple[str, MetricSpec], row: int, value: Value,
    served: str | None, copied: str | None,
) -> tuple[float | None, float | None]:  # fmt: skip
    """Add the scores of both answers by one metric, given a label; returns both values."""
    name, metric = named
    stable, candidate = (_score(name, metric, row, value, summary) for summary in (served, copied))
    take(tallies, at, name, stable, candidate)
    if metric.cap is not None:
        take(tallies, at, capped_name(name), _is_capped(stable, metric.cap), _is_capped(candidate, metric.cap))
    return stable, candidate


def _score(name: str, metric: MetricSpec, row: int, value: Value, summary: str | None) -> float | None:
    score = score_row(name, metric, Summary(summary), row, value)
    return None if isinstance(score, Missing) else score


def _is_capped(value: float | None, cap: float) -> float | None:
    return None if value is None else float(abs(value) >= cap)


def take(tallies: TallyAccumulator, at: Stratum, metric: str, stable: float | None, candidate: float | None) -> None:
    """Add one pair of values; if one is missing, the pair counts as missing."""
    rollout, epoch, bucket, weight = at
    whole = stable is not None and candidate is not None
    values = (
        (metric, Arm.STABLE, stable if whole else None),
        (metric, Arm.CANDIDATE, candidate if whole else None),
        (difference_name(metric), Arm.CANDIDATE, candidate - stable if whole else None),  # type: ignore[operator]
    )
    for name, arm, value in values:
        tallies.take((rollout, epoch, bucket, arm.value, weight), name, value)
