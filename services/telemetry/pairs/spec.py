"""ShadowSpec: the settings of a shadow that pairing needs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sluicegate.registry.plan.fields import MetricSpec, Source
from sluicegate.registry.words.outputs import OutputKind
from sluicegate.services.telemetry.tally.spec import RolloutSpec


@dataclass(frozen=True, kw_only=True)
class ShadowSpec:
    """A shadow's metrics and its part of the plan."""

    metrics: RolloutSpec
    stable: str
    """The version that the candidate is compared with; answers of other versions are not compared."""
    kinds: Mapping[str, OutputKind] = field(default_factory=dict)
    """The kinds of columns that the signature declares; those of other columns are inferred from the values."""
    segments: tuple[str, ...] = ()
    keep: int = 20_000
    """The most pairs that are stored."""
    keep_for: float = 7 * 86_400.0
    """Seconds after which a stored pair is deleted."""
    show_values: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether the spec can no longer change."""
        return self.metrics.is_complete

    @property
    def disagreements(self) -> tuple[tuple[str, MetricSpec], ...]:
        """The metrics that compare answers."""
        named = self.metrics.metrics.items()
        return tuple((name, metric) for name, metric in named if metric.source is Source.DISAGREEMENT)

    @property
    def labelled(self) -> tuple[tuple[str, MetricSpec], ...]:
        """The metrics that are computed from outcomes."""
        return tuple(each for each in self.metrics.metrics.items() if each[1].source is Source.OUTCOME)


ShadowSource = Callable[[str], ShadowSpec | None]
"""The spec of a shadow by its rollout's id; None while it is not known."""
