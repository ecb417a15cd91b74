"""The charts of a shadow: the share of answers that differ over time, and the sizes of the differences. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sluicegate.registry.report.shadow_view import ColumnView
from sluicegate.registry.words.figures import clock, count, number, share
from sluicegate.services.report.svg import ALONE, box, figure, left_margin, line, tipped, words

_HEIGHT, _BOTTOM = 150, 26
_COURSE = 2


def agreement_chart(over_time: Sequence[tuple[datetime, int, int]], name: str, width: int = ALONE) -> str:
    """The share of pairs that differ in each time bucket; empty for fewer than two buckets, which show no trend."""
    rows = [(at, differ / n) for at, n, differ in over_time if n]
    if len(rows) < _COURSE:
        return ""
    most = max([0.01, *(part for _, part in rows)])
    labels = [clock(at) for at, _ in rows]
    tips = [f"{label}: {share(part)}" for label, (_, part) in zip(labels, rows, strict=True)]
    about = f"{len(rows)} time buckets, from {labels[0]} to {labels[-1]}; at most {share(most)} differ."
    bars = _bars([part / most for _, part in rows], tips, width)
    ends = (share(most), labels[0], labels[-1])
    return _chart(name, "Answers that differ, over time", about, bars, ends, width)


def difference_chart(column: ColumnView, name: str, width: int = ALONE) -> str:
    """The distribution of the difference between candidate and stable on the same request; empty without data."""
    if not column.differences:
        return ""
    most = max(bar.candidate for bar in column.differences)
    tips = [f"{number(bar.low)} to {number(bar.high)}: {count(bar.candidate)}" for bar in column.differences]
    about = f"{column.n} pairs; the bins are on a logarithmic scale on both sides of 0."
    bars = _bars([bar.candidate / most for bar in column.differences], tips, width)
    ends = (count(most), number(column.differences[0].low), number(column.differences[-1].high))
    return _chart(name, f"Candidate minus stable: {column.column}", about, bars, ends, width)


def _bars(heights: list[float], tips: list[str], width: int) -> list[str]:
    """Bars over the whole width, each with a tooltip."""
    left = left_margin(width)
    step = (width - left) / len(heights)
    tall = _HEIGHT - _BOTTOM - 12
    return [
        tipped(tip, box("bar", left + i * step, _HEIGHT - _BOTTOM - tall * height, max(step - 1.5, 1), tall * height))
        for i, (height, tip) in enumerate(zip(heights, tips, strict=True))
    ]


def _chart(name: str, title: str, about: str, bars: list[str], ends: tuple[str, str, str], width: int) -> str:
    base, left = _HEIGHT - _BOTTOM, left_margin(width)
    most, first, last = ends
    axis = [
        line("zero", left, base, width, base), words("tick", left - 6, 18, most, "end"),
        words("tick", left, _HEIGHT - 8, first), words("tick", width, _HEIGHT - 8, last, "end"),
    ]  # fmt: skip
    return figure(name, width=width, height=_HEIGHT, title=title, about=about, parts=[*bars, *axis])
