"""Disagreement: the details of a pair whose answers differ; the values only if the plan allows that. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sluicegate.registry.plan.fields import MetricSpec
from sluicegate.services.telemetry.pairs.comparison import TOP, Comparison
from sluicegate.services.telemetry.pairs.pair import Pair

_CELLS = 8
_TEXT = 300


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """One of the worst disagreements."""

    request: str
    at: datetime
    distance: float
    segments: tuple[str, ...]
    schema: str | None
    """How the shapes of the answers differ, if they do."""
    beyond: tuple[str, ...]
    """The plan's metrics whose tolerance the difference exceeds."""
    cells: tuple[dict[str, object], ...]
    """Column, row and distance of each value that differs, and both values if the plan allows that."""


def differing(comparison: Comparison, metrics: Iterable[tuple[str, MetricSpec]]) -> dict[str, bool]:
    """Whether two answers differ, for each metric that compares answers, by its own tolerance."""
    return {
        name: comparison.differs(metric.prediction.column if metric.prediction else None, metric.agree_within)
        for name, metric in metrics
    }


def disagreement_of(
    pair: Pair, comparison: Comparison, segments: tuple[str, ...], by_metric: Mapping[str, bool], *, show: bool
) -> Disagreement:
    """The details of a pair that differs; with `show` its values too."""
    apart = sorted((cell for cell in comparison.cells if cell.distance), key=lambda cell: -cell.distance)
    cells = [
        {"column": cell.column, "row": cell.row, "distance": cell.distance}
        | ({"served": _short(cell.served), "copied": _short(cell.copied)} if show else {})
        for cell in apart
        if cell.column != TOP
    ]
    return Disagreement(
        request=pair.copied.rid or "", at=datetime.fromtimestamp(pair.copied.at / 1e6, UTC),
        distance=comparison.distance, segments=segments, schema=comparison.schema, cells=tuple(cells[:_CELLS]),
        beyond=tuple(metric for metric, differs in by_metric.items() if differs),
    )  # fmt: skip


def _short(value: object) -> object:
    return value[:_TEXT] if isinstance(value, str) else value
