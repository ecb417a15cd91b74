"""RolloutSpec: what the collector must know of a rollout to tally its requests. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from sluicegate.registry.plan.fields import MetricSpec, PredictionField, Source, thresholds_of
from sluicegate.registry.words.metric import capped_name, exceedance_name


@dataclass(frozen=True, kw_only=True)
class RolloutSpec:
    """A rollout's metrics, as the ledger tells them."""

    rollout: str
    metrics: dict[str, MetricSpec] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)
    """Frozen thresholds by the name that `thresholds_of` gives them; of durations in seconds."""
    margins: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Relative margins of a latency metric for which exceedance is tallied besides 0."""

    by_unit: bool = False
    """Whether a unit keeps its arm, so that its requests count together."""
    generates: bool = False
    """Whether its plan asks for generated requests."""
    joins_more: bool = False
    """Whether bodies are joined to its requests."""
    sliced: Mapping[str, tuple[tuple[int, str], ...]] = field(default_factory=dict)
    """By metric, the headers by whose values it is counted besides, with their positions in the log."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing of it can change any more: every threshold it needs is frozen."""
        return all(name in self.thresholds for each in self.metrics.items() for name in thresholds_of(*each))

    @cached_property
    def measures(self) -> Measures:
        """What is tallied of every request, compiled for speed."""
        statuses, contracts = [], []
        means: list[tuple[str, float]] = []
        limits: list[tuple[str, float]] = []
        predictions: list[Predicted] = []
        for name, metric in self.metrics.items():
            match metric.source:
                case Source.STATUS:
                    statuses.append(name)
                case Source.LATENCY if metric.quantile is not None:
                    limits += self._limits(name)
                case Source.LATENCY:
                    means.append((name, math.inf if metric.cap is None else metric.cap))
                    limits += [] if metric.cap is None else [(capped_name(name), metric.cap * 1e6)]
                case Source.CONTRACT:
                    contracts.append(name)
                case Source.PREDICTION:
                    predictions.append(self._predicted(name, metric))
                case Source.OUTCOME | Source.DISAGREEMENT:
                    pass
        return Measures(
            statuses=tuple(statuses), means=tuple(means), limits=tuple(limits), contracts=tuple(contracts),
            predictions=tuple(predictions), by_unit=self.by_unit, slicings=self._slicings(),
        )  # fmt: skip

    @cached_property
    def of_generated(self) -> Measures:
        """What is tallied of a request that no caller sent: how it ended, how long it took, and its answer's form."""
        return replace(self.measures, predictions=(), slicings=())

    @property
    def keeps_requests(self) -> bool:
        """Whether anything may be joined to its requests once they were counted."""
        return self.joins_more or any(each.source is Source.OUTCOME for each in self.metrics.values())

    def scored_by(self, outcome: str) -> tuple[tuple[str, MetricSpec], ...]:
        """The metrics that outcomes of this name feed."""
        return tuple(
            (name, metric)
            for name, metric in self.metrics.items()
            if metric.source is Source.OUTCOME and (metric.outcome or name) == outcome
        )

    def _slicings(self) -> tuple[Slicing, ...]:
        headers = dict.fromkeys(each for headers in self.sliced.values() for each in headers)
        return tuple(
            Slicing(position=position, header=header, metrics=metrics, has_labels=_have_labels(self.metrics, metrics))
            for position, header in headers
            for metrics in [frozenset(m for m, mine in self.sliced.items() if (position, header) in mine)]
        )

    def _limits(self, name: str) -> list[tuple[str, float]]:
        """Exceedance metrics of a latency metric with their limits in microseconds; none until it is frozen."""
        threshold = self.thresholds.get(name)
        if threshold is None:
            return []
        margins = {0.0, *self.margins.get(name, ())}
        return [(exceedance_name(name, margin), threshold * (1 + margin) * 1e6) for margin in sorted(margins)]

    def _predicted(self, name: str, metric: MetricSpec) -> Predicted:
        names = thresholds_of(name, metric)
        is_frozen = all(each in self.thresholds for each in names)
        levels = tuple((each, self.thresholds[each]) for each in names) if is_frozen else ()
        return Predicted(name=name, field=metric.prediction, levels=levels)


def _have_labels(specs: Mapping[str, MetricSpec], metrics: frozenset[str]) -> bool:
    return any(specs[metric].source is Source.OUTCOME for metric in metrics)


@dataclass(frozen=True, kw_only=True)
class Slicing:
    """One header by whose values some metrics are counted besides."""

    position: int
    header: str
    metrics: frozenset[str]
    has_labels: bool
    """Whether labels are among them, which are compared with the requests of each slice."""


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """A prediction metric: which cell of the answer it reads, and above which thresholds it counts."""

    name: str
    """Its tally is of the predictions themselves."""
    field: PredictionField | None
    levels: tuple[tuple[str, float], ...]
    """Derived 0/1 metrics with stable's frozen quantiles; none until they are frozen."""


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Names of the metrics that a request alone decides."""

    statuses: tuple[str, ...]
    """1 where the assigned build failed or the client left, else 0."""
    means: tuple[tuple[str, float], ...]
    """Duration in seconds, at most the cap; infinite: there is none."""
    limits: tuple[tuple[str, float], ...]
    """1 where the duration is above the limit in microseconds, else 0."""
    contracts: tuple[str, ...] = ()
    """1 where the answer is not what the signature promises, else 0."""
    predictions: tuple[Predicted, ...] = ()
    """The first row's prediction, and 1 where it is above a threshold, else 0."""
    by_unit: bool = False
    slicings: tuple[Slicing, ...] = ()

    def only(self, metrics: frozenset[str]) -> Measures:
        """Those of some metrics."""
        return replace(
            self,
            statuses=tuple(each for each in self.statuses if each in metrics),
            means=tuple(each for each in self.means if each[0] in metrics),
            limits=tuple(each for each in self.limits if each[0] in metrics),
            contracts=tuple(each for each in self.contracts if each in metrics),
            predictions=tuple(each for each in self.predictions if each.name in metrics),
        )

    @property
    def judges_answers(self) -> bool:
        """Whether the answers themselves are looked at."""
        return bool(self.contracts or self.predictions)


SpecSource = Callable[[str], RolloutSpec | None]
"""The spec of a rollout id; None while it is not known."""
