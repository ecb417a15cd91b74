"""The forest plot of an experiment: each variation's difference from the control, with its interval. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from sluicegate.registry.report.readout import Compared, Readout
from sluicegate.registry.words.figures import Unit, difference, interval, signed
from sluicegate.services.report.scale import Scale
from sluicegate.services.report.svg import ALONE, Part, box, dot, figure, left_margin, line, words

RIGHT, TOP, ROW, BOTTOM = 24, 12, 34, 44
LETTER = 7.0
"""About the width of a letter, in pixels."""


def forest_chart(readout: Readout, name: str, width: int = ALONE) -> str:
    """The chart as SVG; empty if no variation has an estimate yet."""
    rows = [each for each in readout.compared if each.estimate is not None]
    if not rows:
        return ""
    height = TOP + ROW * len(rows) + BOTTOM
    x = _scale(rows, width)
    parts = (*_frame(readout, rows, x, height), *(part for i, row in enumerate(rows) for part in _row(row, i, x)))
    about = "; ".join(f"{row.variation}: {_figures(row)}" for row in rows)
    title = f"{readout.metric}: each variation minus {readout.control}"
    return figure(name, width=width, height=height, title=title, about=about, parts=parts)


def _scale(rows: list[Compared], width: int) -> Scale:
    values = [0.0]
    for row in rows:
        values += [value for value in (row.estimate, row.low, row.high, row.bound) if value is not None]
    room = (max(values) - min(values)) * 0.06 or 1.0
    return Scale(low=min(values) - room, high=max(values) + room, start=_names(rows, width), end=width - RIGHT)


def _names(rows: list[Compared], width: int) -> float:
    """The space for the variations' names, in pixels."""
    longest = LETTER * max(len(row.variation) for row in rows) + 20
    return min(max(longest, left_margin(width) / 2), 2 * left_margin(width))


def _frame(readout: Readout, rows: list[Compared], x: Scale, height: int) -> Iterator[Part]:
    bottom = height - BOTTOM
    yield box("plot", x.start, TOP, x.end - x.start, bottom - TOP)
    for value in x.ticks(int(x.end - x.start) // 68):
        yield line("zero" if value == 0 else "grid", x.at(value), TOP, x.at(value), bottom)
        yield words("tick", x.at(value), bottom + 16, signed(value), "middle")
    bound = next((row.bound for row in rows if row.bound), None)
    if bound is not None:
        yield line("margin", x.at(bound), TOP, x.at(bound), bottom)
    middle = (x.start + x.end) / 2
    yield words("axis", middle, height - 8, f"difference in {readout.metric} from {readout.control}", "middle")


def _row(row: Compared, index: int, x: Scale) -> Iterator[Part]:
    y = TOP + ROW * index + ROW / 2
    low = x.start if row.low is None else x.at(row.low)
    high = x.end if row.high is None else x.at(row.high)
    yield words("tick", x.start - 10, y + 4, row.variation, "end")
    yield line("whisker", low, y, high, y)
    assert row.estimate is not None
    yield dot("look", x.at(row.estimate), y, 4.5, f"{row.variation}: {_figures(row)}")


def _figures(row: Compared) -> str:
    unit = Unit(row.unit)
    return f"{difference(row.estimate, unit)}, CI {interval(row.low, row.high, unit)}"
