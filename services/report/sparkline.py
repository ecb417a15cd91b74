"""The sparkline of a metric: both builds' means from look to look, without axes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from sluicegate.registry.report.trend import Trend
from sluicegate.registry.words.figures import Unit, measured
from sluicegate.services.report.scale import Scale
from sluicegate.services.report.svg import path

WIDTH, HEIGHT, EDGE = 100.0, 24.0, 2.0


def sparkline(trend: Trend) -> str:
    """The line as SVG, stretched to its place; empty with fewer than two looks."""
    if len(trend.points) < 2:
        return ""
    values = [value for point in trend.points for value in point]
    x = Scale(low=0, high=len(trend.points) - 1, start=EDGE, end=WIDTH - EDGE)
    y = Scale(low=min(values), high=max(values), start=HEIGHT - EDGE, end=EDGE)
    drawn = [_line("stable", [each[0] for each in trend.points], x, y),
             _line("candidate", [each[1] for each in trend.points], x, y)]  # fmt: skip
    stable, candidate = (measured(value, Unit(trend.unit)) for value in trend.points[-1])
    label = f"{trend.metric} over {len(trend.points)} looks: candidate now {candidate}, stable {stable}"
    return (
        f'<svg class="spark" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}"><title>{escape(label)}</title>{"".join(drawn)}</svg>'
    )


def _line(arm: str, values: Sequence[float], x: Scale, y: Scale) -> str:
    return path(arm, [(x.at(i), y.at(value)) for i, value in enumerate(values)])
