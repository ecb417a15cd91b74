"""RolloutSpec: the settings of a rollout that the collector needs to tally its requests. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from sluicegate.registry.plan.fields import MetricSpec, PredictionField, Source, thresholds_of
from sluicegate.registry.words.metric import capped_name, exceedance_name


@dataclass(frozen=True, kw_only=True)
class RolloutSpec:
    """A rollout's metrics, from the ledger."""

    rollout: str
    metrics: dict[str, MetricSpec] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)
    """Frozen thresholds by their names from `thresholds_of`; those of durations in seconds."""
    margins: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Relative margins of a latency metric for which exceedance is tallied, in addition to 0."""

    by_unit: bool = False
    """Whether a unit keeps its arm, so that its requests count together."""
    generates: bool = False
    """Whether its plan asks for generated requests."""
    joins_more: bool = False
    """Whether bodies are joined to its requests."""
    sliced: Mapping[str, tuple[tuple[int, str], ...]] = field(default_factory=dict)
    """The headers by which each metric is sliced, with their positions in the log."""

    @property
    def is_complete(self) -> bool:
        """Whether it can no longer change, because all its thresholds are frozen."""
        return all(name in self.thresholds for each in self.metrics.items() for name in thresholds_of(*each))

    @cached_property
    def measures(self) -> Measures:
        """What is tallied for every request, prepared for speed."""
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
        """What is tallied for generated requests: how they ended, their duration, and whether answers break the
        signature."""
        return replace(self.measures, predictions=(), slicings=())

    @property
    def keeps_requests(self) -> bool:
        """Whether anything may be joined to its requests later, so that they must be stored."""
        return self.joins_more or any(each.source is Source.OUTCOME for each in self.metrics.values())

    def scored_by(self, outcome: str) -> tuple[tuple[str, MetricSpec], ...]:
        """The metrics that are computed from outcomes with this name."""
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
        """Exceedance metrics of a latency metric with their limits in microseconds; none until its threshold is
        frozen."""
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
    """A header by which some metrics are sliced."""

    position: int
    header: str
    metrics: frozenset[str]
    has_labels: bool
    """Whether some of the metrics need labels, whose number is compared with the requests of each slice."""


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """A prediction metric: the cell of the answer that it reads, and the thresholds above which it counts."""

    name: str
    """The metric for the predictions themselves."""
    field: PredictionField | None
    levels: tuple[tuple[str, float], ...]
    """Derived 0/1 metrics with stable's frozen quantiles; none until they are frozen."""


@dataclass(frozen=True, kw_only=True)
class Measures:
    """The names of the metrics that need no label."""

    statuses: tuple[str, ...]
    """1 if the assigned build failed or the client left, else 0."""
    means: tuple[tuple[str, float], ...]
    """The duration in seconds, limited to the cap; an infinite cap means none."""
    limits: tuple[tuple[str, float], ...]
    """1 if the duration is above the limit in microseconds, else 0."""
    contracts: tuple[str, ...] = ()
    """1 if the answer breaks the signature, else 0."""
    predictions: tuple[Predicted, ...] = ()
    """The first row's prediction, and 1 if it is above a threshold, else 0."""
    by_unit: bool = False
    slicings: tuple[Slicing, ...] = ()

    def only(self, metrics: frozenset[str]) -> Measures:
        """The part that belongs to these metrics."""
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
        """Whether some metrics need the answers themselves."""
        return bool(self.contracts or self.predictions)


SpecSource = Callable[[str], RolloutSpec | None]
"""The spec of a rollout id; None while it is not known."""
