"""The chart of an experiment's cumulative exposures: compared rows of each variation over time. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sluicegate.registry.report.readout import Arrivals
from sluicegate.registry.words.figures import lasting, number
from sluicegate.services.report.scale import Scale, time_ticks
from sluicegate.services.report.svg import ALONE, Part, box, dot, figure, left_margin, line, path, words

HEIGHT = 240
MOST_RIGHT, TOP, BOTTOM = 130, 30, 46
LETTER = 7.0
"""About the width of a letter, in pixels."""
LINE = 14
"""The vertical distance between two names, in pixels."""


def exposures_chart(arrivals: Sequence[Arrivals], name: str, width: int = ALONE) -> str:
    """The chart as SVG; empty if nothing has been compared. The control comes first."""
    curves = [each for each in arrivals if each.points]
    if not curves:
        return ""
    seconds = max(each.points[-1][0] for each in curves) or 1.0
    most = max(each.points[-1][1] for each in curves)
    longest = max(len(_label(each)) for each in curves)
    x = Scale(low=0.0, high=seconds, start=left_margin(width), end=width - min(LETTER * longest + 14, MOST_RIGHT))
    y = Scale(low=0.0, high=most * 1.08 or 1.0, start=HEIGHT - BOTTOM, end=TOP)
    parts = (*_frame(x, y, seconds), *(part for i, each in enumerate(curves) for part in _curve(each, i, x, y)),
             *_names(curves, x, y))  # fmt: skip
    about = ", ".join(f"{each.variation}: {number(each.points[-1][1])}" for each in curves)
    title = "Rows that were compared, by variation, over time"
    return figure(name, width=width, height=HEIGHT, title=title, about=about, parts=parts)


def _frame(x: Scale, y: Scale, seconds: float) -> Iterator[Part]:
    yield box("plot", x.start, y.end, x.end - x.start, y.start - y.end)
    for value in y.ticks(4):
        yield line("zero" if value == 0 else "grid", x.start, y.at(value), x.end, y.at(value))
        yield words("tick", x.start - 8, y.at(value) + 4, number(value), "end")
    for value in time_ticks(seconds, max(int(x.end - x.start) // 68, 1)):
        yield words("tick", x.at(value), y.start + 18, lasting(value) if value else "0", "middle")
    yield words("axis", (x.start + x.end) / 2, HEIGHT - 8, "time since the experiment began", "middle")
    yield words("axis", 8, 14, "rows compared, cumulative")


def _curve(each: Arrivals, index: int, x: Scale, y: Scale) -> Iterator[Part]:
    kind = f"arrivals {'stable' if index == 0 else f'candidate dash{index % 4}'}"
    yield path(kind, [(x.at(0), y.at(0)), *((x.at(at), y.at(rows)) for at, rows in each.points)])
    at, rows = each.points[-1]
    yield dot("seen", x.at(at), y.at(rows), 3.2, f"{each.variation}: {number(rows)} after {lasting(at)}")


def _label(each: Arrivals) -> str:
    return f"{each.variation} {number(each.points[-1][1])}"


def _names(curves: Sequence[Arrivals], x: Scale, y: Scale) -> Iterator[Part]:
    """Each name at the end of its curve, far enough apart to be readable."""
    free = y.start + LINE
    for each in sorted(curves, key=lambda one: one.points[-1][1]):
        at, rows = each.points[-1]
        free = min(free - LINE, y.at(rows) + 4)
        yield words("tick", x.at(at) + 8, free, _label(each))
