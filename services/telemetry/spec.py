"""RolloutSpec: what the collector must know of a rollout to tally its requests. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from registry.metric import exceedance_name
from registry.plan import MetricSpec, Score, Source


@dataclass(frozen=True, kw_only=True)
class RolloutSpec:
    """A rollout's metrics, as the ledger tells them."""

    rollout: str
    metrics: dict[str, MetricSpec] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)
    """Frozen thresholds of the latency metrics that name a quantile, in seconds."""
    margins: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Relative margins of a latency metric for which exceedance is tallied besides 0."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing of it can change any more: every threshold it needs is frozen."""
        quantiles = (name for name, metric in self.metrics.items() if _is_exceedance(metric))
        return all(name in self.thresholds for name in quantiles)

    @cached_property
    def measures(self) -> Measures:
        """What is tallied of every request, compiled for speed."""
        statuses, means = [], []
        limits: list[tuple[str, float]] = []
        for name, metric in self.metrics.items():
            match metric.source:
                case Source.STATUS:
                    statuses.append(name)
                case Source.LATENCY if _is_exceedance(metric):
                    limits += self._limits(name)
                case Source.LATENCY:
                    means.append(name)
                case Source.OUTCOME:
                    pass
        return Measures(statuses=tuple(statuses), means=tuple(means), limits=tuple(limits))

    def scored_by(self, outcome: str) -> tuple[tuple[str, MetricSpec], ...]:
        """The metrics that outcomes of this name feed."""
        return tuple(
            (name, metric)
            for name, metric in self.metrics.items()
            if metric.source is Source.OUTCOME and (metric.outcome or name) == outcome
        )

    def _limits(self, name: str) -> list[tuple[str, float]]:
        """Exceedance metrics of a latency metric with their limits in microseconds; none until it is frozen."""
        threshold = self.thresholds.get(name)
        if threshold is None:
            return []
        margins = {0.0, *self.margins.get(name, ())}
        return [(exceedance_name(name, margin), threshold * (1 + margin) * 1e6) for margin in sorted(margins)]


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Names of the metrics that a request alone decides."""

    statuses: tuple[str, ...]
    """1 where the assigned build failed, else 0."""
    means: tuple[str, ...]
    """Duration in seconds."""
    limits: tuple[tuple[str, float], ...]
    """1 where the duration is above the limit in microseconds, else 0."""


SpecSource = Callable[[str], RolloutSpec | None]
"""The spec of a rollout id; None while it is not known."""


def score_of(name: str, metric: MetricSpec) -> Score:
    """How a metric scores: as it says, else as its own name says, else the outcome itself."""
    if metric.score is not None:
        return metric.score
    return Score(name) if name in set(Score) else Score.OUTCOME


def _is_exceedance(metric: MetricSpec) -> bool:
    return metric.source is Source.LATENCY and metric.quantile is not None
