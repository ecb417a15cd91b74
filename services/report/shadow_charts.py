"""The charts of a shadow: the share of answers that differ over time, and the sizes of the differences. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sluicegate.registry.report.shadow_view import ColumnView
from sluicegate.registry.words.figures import clock, count, moment, number, share
from sluicegate.services.report.svg import ALONE, Part, box, figure, left_margin, line, tipped, words

_HEIGHT, _TOP, _BOTTOM, _RIGHT = 176, 30, 26, 18
_COURSE = 2


def agreement_chart(over_time: Sequence[tuple[datetime, int, int]], name: str, width: int = ALONE) -> str:
    """The share of pairs that differ in each time bucket; empty for fewer than two buckets, which show no trend."""
    rows = [(at, differ / n) for at, n, differ in over_time if n]
    if len(rows) < _COURSE:
        return ""
    most = max([0.01, *(part for _, part in rows)])
    labels = [clock(at) for at, _ in rows]
    since = f"pairs that differ, from {moment(rows[0][0])} UTC"
    tips = [f"{label}: {share(part)}" for label, (_, part) in zip(labels, rows, strict=True)]
    about = f"{len(rows)} time buckets, from {labels[0]} to {labels[-1]}; at most {share(most)} differ."
    bars = _bars([part / most for _, part in rows], tips, width)
    ends = (share(most), labels[0], labels[-1])
    return _chart(name, "Answers that differ, over time", about, bars, (since, *ends), width)


def difference_chart(column: ColumnView, name: str, width: int = ALONE) -> str:
    """The distribution of the difference between candidate and stable on the same request; empty without data."""
    if not column.differences:
        return ""
    most = max(bar.candidate for bar in column.differences)
    tips = [f"{number(bar.low)} to {number(bar.high)}: {count(bar.candidate)}" for bar in column.differences]
    about = f"{column.n} pairs; the bins are on a logarithmic scale on both sides of 0."
    bars = _bars([bar.candidate / most for bar in column.differences], tips, width)
    ends = (count(most), number(column.differences[0].low), number(column.differences[-1].high))
    return _chart(name, f"Candidate minus stable: {column.column}", about, bars, ("pairs", *ends), width)


def _bars(heights: list[float], tips: list[str], width: int) -> list[Part]:
    """Bars over the whole plot, each with a tooltip."""
    left = left_margin(width)
    step = (width - left - _RIGHT) / len(heights)
    tall = _HEIGHT - _BOTTOM - _TOP
    return [
        tipped(tip, box("bar", left + i * step, _HEIGHT - _BOTTOM - tall * height, max(step - 1.5, 1), tall * height))
        for i, (height, tip) in enumerate(zip(heights, tips, strict=True))
    ]


def _chart(name: str, title: str, about: str, bars: list[Part], axes: tuple[str, str, str, str], width: int) -> str:
    """The bars with their axes: what is counted, the highest bar, and the two ends below."""
    base, left, right = _HEIGHT - _BOTTOM, left_margin(width), width - _RIGHT
    what, most, first, last = axes
    frame = [
        box("plot", left, _TOP, right - left, base - _TOP), line("grid", left, _TOP, right, _TOP),
        words("axis", 8, 14, what), words("tick", left - 8, _TOP + 4, most, "end"),
        words("tick", left - 8, base + 4, "0", "end"),
        words("tick", left, _HEIGHT - 8, first), words("tick", right, _HEIGHT - 8, last, "end"),
    ]  # fmt: skip
    parts = [*frame, *bars, line("zero", left, base, right, base)]
    return figure(name, width=width, height=_HEIGHT, title=title, about=about, parts=parts)
