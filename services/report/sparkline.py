"""Sparklines without axes: a metric's means of both builds by look, and a model's requests by minute. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from sluicegate.registry.report.pulse import Pulse
from sluicegate.registry.report.trend import Trend
from sluicegate.registry.words.figures import Unit, measured, share
from sluicegate.services.report.scale import Scale
from sluicegate.services.report.svg import way

WIDTH, HEIGHT, EDGE = 100.0, 24.0, 2.0


def sparkline(trend: Trend) -> str:
    """The line as SVG that stretches to its container; empty for fewer than two looks."""
    if len(trend.points) < 2:
        return ""
    values = [value for point in trend.points for value in point]
    x = Scale(low=0, high=len(trend.points) - 1, start=EDGE, end=WIDTH - EDGE)
    y = Scale(low=min(values), high=max(values), start=HEIGHT - EDGE, end=EDGE)
    drawn = [_line("stable", [each[0] for each in trend.points], x, y),
             _line("candidate", [each[1] for each in trend.points], x, y)]  # fmt: skip
    stable, candidate = (measured(value, Unit(trend.unit)) for value in trend.points[-1])
    label = f"{trend.metric} over {len(trend.points)} looks: candidate now {candidate}, stable {stable}"
    return _svg(label, "".join(drawn))


def pulse_line(pulse: Pulse) -> str:
    """Requests by minute, and failed ones in the colour of harm, on one scale from 0; empty without requests."""
    if pulse.is_quiet:
        return ""
    x = Scale(low=0, high=len(pulse.requests) - 1, start=EDGE, end=WIDTH - EDGE)
    y = Scale(low=0, high=max(pulse.requests), start=HEIGHT - EDGE, end=EDGE)
    points = [(x.at(i), y.at(value)) for i, value in enumerate(pulse.requests)]
    drawn = way("under", [(x.start, y.start), *points, (x.end, y.start)], closed=True) + way("requests", points)
    failed = _line("failed", pulse.failed, x, y) if any(pulse.failed) else ""
    share_failed = share(sum(pulse.failed) / sum(pulse.requests))
    label = (
        f"requests by minute, the last {len(pulse.requests)}: {pulse.requests[-1]:,} in the last one, "
        f"{max(pulse.requests):,} at most; {share_failed} failed"
    )
    return _svg(label, drawn + failed)


def _svg(label: str, drawn: str) -> str:
    return (
        f'<svg class="spark" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}"><title>{escape(label)}</title>{drawn}</svg>'
    )


def _line(arm: str, values: Sequence[float], x: Scale, y: Scale) -> str:
    return way(arm, [(x.at(i), y.at(value)) for i, value in enumerate(values)])
