"""Disagreement: what is shown of a pair whose answers differ; the answers only where the plan allows it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

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
    cells: tuple[dict[str, object], ...]
    """Column, row and distance of each value that differs, and both values where the plan allows it."""


def disagreement_of(pair: Pair, comparison: Comparison, segments: tuple[str, ...], *, show: bool) -> Disagreement:
    """What is kept of a pair that differs; `show`: its values too."""
    differing = sorted((cell for cell in comparison.cells if cell.distance), key=lambda cell: -cell.distance)
    cells = [
        {"column": cell.column, "row": cell.row, "distance": cell.distance}
        | ({"served": _short(cell.served), "copied": _short(cell.copied)} if show else {})
        for cell in differing
        if cell.column != TOP
    ]
    return Disagreement(
        request=pair.copied.rid or "", at=datetime.fromtimestamp(pair.copied.at / 1e6, UTC),
        distance=comparison.distance, segments=segments, schema=comparison.schema, cells=tuple(cells[:_CELLS]),
    )  # fmt: skip


def _short(value: object) -> object:
    return value[:_TEXT] if isinstance(value, str) else value
