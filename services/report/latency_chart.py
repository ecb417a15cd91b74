"""The chart of latency: the histograms of both builds, overlaid. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from sluicegate.registry.report.report import ArmLatency
from sluicegate.registry.words.figures import Unit, measured, share
from sluicegate.services.report.scale import Scale
from sluicegate.services.report.svg import ALONE, Part, box, figure, left_margin, line, path, words

HEIGHT = 250
RIGHT, TOP, BOTTOM = 18, 28, 46
LABEL, LETTER = 18, 7.0
"""The height of a label, and about the width of a letter, in pixels."""
_MARKS = (1, 2, 5)
"""The ticks in each decade, as multiples of its power of ten."""


def latency_chart(arms: Sequence[ArmLatency], name: str, width: int = ALONE) -> str:
    """The chart as SVG; empty if no arm has a histogram."""
    drawn = [arm for arm in arms if arm.bins]
    if not drawn:
        return ""
    shortest = min(arm.bins[0].low for arm in drawn)
    longest = max(arm.bins[-1].high for arm in drawn)
    most = max(each.requests / arm.requests for arm in drawn for each in arm.bins)
    x = Scale(low=math.log10(shortest), high=math.log10(longest), start=left_margin(width), end=width - RIGHT)
    y = Scale(low=0.0, high=most * 1.45, start=HEIGHT - BOTTOM, end=TOP)
    parts = (*_frame(x, y), *(part for arm in drawn for part in _arm(arm, x, y)), *_marked(drawn, x, y))
    about = "; ".join(f"{arm.arm}: half within {_time(arm.p50)}, 95 % within {_time(arm.p95)}" for arm in drawn)
    title = "How long callers waited, as a share of each build's requests"
    return figure(name, width=width, height=HEIGHT, title=title, about=about, parts=parts)


def _frame(x: Scale, y: Scale) -> Iterator[Part]:
    yield box("plot", x.start, y.end, x.end - x.start, y.start - y.end)
    for value in y.ticks(4):
        yield line("zero" if value == 0 else "grid", x.start, y.at(value), x.end, y.at(value))
        yield words("tick", x.start - 8, y.at(value) + 4, share(value), "end")
    free = 0.0
    for value in (mark * 10.0**power for power in range(-2, 7) for mark in _MARKS):
        place = x.at(math.log10(value))
        if x.start <= place <= x.end and place >= free:
            yield words("tick", place, y.start + 18, _time(value), "middle")
            free = place + 56
    yield words("axis", (x.start + x.end) / 2, HEIGHT - 8, "time until the answer, logarithmic", "middle")
    yield words("axis", 8, 14, "share of the build's requests")


def _arm(arm: ArmLatency, x: Scale, y: Scale) -> Iterator[Part]:
    corners: list[tuple[float, float]] = []
    end = None
    for each in arm.bins:
        left, right, height = (
            x.at(math.log10(each.low)),
            x.at(math.log10(each.high)),
            y.at(each.requests / arm.requests),
        )
        if end is not None and left > end + 0.2:
            corners += [(end, y.start), (left, y.start)]
        corners += [(left, height), (right, height)]
        end = right
    yield path(f"times {arm.arm}", [(corners[0][0], y.start), *corners, (corners[-1][0], y.start)], closed=True)


def _marked(arms: Sequence[ArmLatency], x: Scale, y: Scale) -> Iterator[Part]:
    """Each build's 95th percentile as a line with its label at the top. The slower build's label is the upper one and
    to the right, the faster build's is to the left and its line begins below, so that no line crosses a label."""
    for row, arm in enumerate(sorted(arms, key=lambda each: -each.p95)):
        place, top = _p95(arm, x), y.end + LABEL * row
        text = f"{arm.arm} p95 {_time(arm.p95)}"
        length = LETTER * len(text) + 5
        is_left = place + length > x.end if row == 0 else place - length > x.start
        yield line(f"p95 {arm.arm}", place, top + 4, place, y.start)
        yield words(f"named {arm.arm}", place + (-5 if is_left else 5), top + 15, text, "end" if is_left else "start")


def _p95(arm: ArmLatency, x: Scale) -> float:
    return x.at(math.log10(arm.p95)) if arm.p95 > 0 else x.start


def _time(milliseconds: float) -> str:
    return measured(milliseconds / 1000, Unit.SECONDS)
