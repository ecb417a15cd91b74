"""The chart of the candidate's weight over time, with what moved it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from sluicegate.registry.report.course import WeightPoint
from sluicegate.registry.report.report import Report
from sluicegate.registry.words.units import format_duration
from sluicegate.services.report.scale import Scale, time_ticks
from sluicegate.services.report.svg import box, dot, figure, line, path, words

WIDTH, HEIGHT = 760, 220
LEFT, RIGHT, TOP, BOTTOM = 66, 18, 30, 48
_MARKED = {"Paused": "paused", "Promoted": "promoted", "Aborted": "aborted", "Established": "established",
           "Failed": "failed", "Concluded": "concluded", "Superseded": "superseded"}  # fmt: skip


def weight_chart(report: Report, name: str) -> str:
    """The chart as SVG; empty where the candidate never had weight."""
    points = report.weights
    if not any(point.weight for point in points):
        return ""
    begin = report.rollout.requested_at
    last = max([report.rollout.ended_at or report.made_at, points[-1].observed_at or points[-1].at])
    seconds = max((last - begin).total_seconds(), 1.0)
    x = Scale(low=0.0, high=seconds * 1.04, start=LEFT, end=WIDTH - RIGHT)
    most = max(point.weight for point in points)
    y = Scale(low=0.0, high=min(100.0, most * 1.25), start=HEIGHT - BOTTOM, end=TOP)
    way = list(_way([((point.at - begin).total_seconds(), point.weight) for point in points], x.high))
    drawn = [(x.at(at), y.at(weight)) for at, weight in way]
    parts = (
        *_frame(x, y, begin, seconds),
        path("weight-area", [(drawn[0][0], y.start), *drawn, (drawn[-1][0], y.start)], closed=True),
        path("weight", drawn),
        *(_seen(point, begin, x, y) for point in points),
        *_marks(report, x, begin),
    )
    course = ", ".join(f"{p.weight:g} % after {_short((p.at - begin).total_seconds())}" for p in points[1:])
    about = f"The candidate's weight: {course}. Dots are when the data plane was seen to serve it."
    return figure(name, width=WIDTH, height=HEIGHT, title="The candidate's weight over time", about=about, parts=parts)


def _way(points: Sequence[tuple[float, float]], end: float) -> Iterator[tuple[float, float]]:
    """The corners of a line of steps."""
    for (at, weight), (until, _) in zip(points, [*points[1:], (end, 0.0)], strict=True):
        yield at, weight
        yield until, weight


def _frame(x: Scale, y: Scale, begin: datetime, seconds: float) -> Iterator[str]:
    yield box("plot", LEFT, TOP, WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM)
    for value in y.ticks(4):
        yield line("zero" if value == 0 else "grid", LEFT, y.at(value), WIDTH - RIGHT, y.at(value))
        yield words("tick", LEFT - 8, y.at(value) + 4, f"{value:g} %", "end")
    for value in time_ticks(seconds):
        yield words("tick", x.at(value), HEIGHT - BOTTOM + 18, _short(value), "middle")
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield words("axis", middle, HEIGHT - 8, f"time since it was asked for, {begin:%Y-%m-%d %H:%M:%S} UTC", "middle")
    yield words("axis", 8, 14, "weight asked")


def _seen(point: WeightPoint, begin: datetime, x: Scale, y: Scale) -> str:
    """Where the weight came into force."""
    if point.observed_at is None:
        return ""
    late = (point.observed_at - point.at).total_seconds()
    tip = f"{point.weight:g} % in force {late:.2f} s after it was asked"
    return dot("seen", x.at((point.observed_at - begin).total_seconds()), y.at(point.weight), 3.2, tip)


def _marks(report: Report, x: Scale, begin: datetime) -> Iterator[str]:
    """What moved it, in words at the top; marks that would lie on one another are left to the timeline."""
    free = 0.0
    for moment in report.timeline:
        text = _MARKED.get(moment.fact)
        place = x.at((moment.at - begin).total_seconds())
        if text is None or place < free:
            continue
        is_right = place > WIDTH * 0.8
        yield line(f"mark {moment.tone}", place, TOP, place, HEIGHT - BOTTOM)
        yield words(
            f"marked {moment.tone}", place + (-5 if is_right else 5), TOP + 13, text, "end" if is_right else "start"
        )
        free = place + 70


def _short(seconds: float) -> str:
    """A time since the start, in its largest units."""
    return format_duration(float(round(seconds))) if seconds >= 1 else "0"
