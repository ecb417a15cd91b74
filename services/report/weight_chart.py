"""The chart of a rollout: the candidate's weight and every gate's verdicts on one time axis. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from sluicegate.registry.report.course import WeightPoint
from sluicegate.registry.report.report import GateReport, Report
from sluicegate.registry.words.figures import lasting, moment, per_cent
from sluicegate.services.report.scale import Scale, time_ticks
from sluicegate.services.report.states import shown
from sluicegate.services.report.svg import ALONE, Part, box, dot, figure, left_margin, line, path, tipped, words

PLOT = 172
"""The bottom of the weight's plot, in pixels; the verdicts are below it."""
LANE, BAR, GAP = 38, 17, 6
RIGHT, TOP, BOTTOM = 18, 30, 46
FULL = 100.0
_MARKED = {"Paused": "paused", "Promoted": "promoted", "Aborted": "aborted", "Established": "established",
           "Failed": "failed", "Concluded": "concluded", "Superseded": "superseded"}  # fmt: skip


def weight_chart(report: Report, name: str, width: int = ALONE) -> str:
    """The chart as SVG; empty if the candidate never had weight."""
    points = report.weights
    if not any(point.weight for point in points):
        return ""
    begin = report.rollout.requested_at
    last = max([report.rollout.ended_at or report.made_at, points[-1].observed_at or points[-1].at])
    seconds = max((last - begin).total_seconds(), 1.0)
    bottom = PLOT + LANE * len(report.gates) + (GAP if report.gates else 0)
    x = Scale(low=0.0, high=seconds * 1.04, start=left_margin(width), end=width - RIGHT)
    most = max(point.weight for point in points)
    y = Scale(low=0.0, high=most * 1.25, start=PLOT, end=TOP)
    way = list(_way([((point.at - begin).total_seconds(), point.weight) for point in points], x.high))
    drawn = [(x.at(at), y.at(weight)) for at, weight in way]
    parts = (
        *_frame(x, y, begin, seconds, bottom),
        path("weight-area", [(drawn[0][0], y.start), *drawn, (drawn[-1][0], y.start)], closed=True),
        path("weight", drawn),
        *_observed(points, begin, x, y),
        *_marks(report, x, begin, bottom),
        *(part for i, gate in enumerate(report.gates) for part in _lane(gate, PLOT + GAP + LANE * i, x, begin, last)),
    )
    course = ", ".join(f"{p.weight:g} % after {_short((p.at - begin).total_seconds())}" for p in points[1:])
    verdicts = " ".join(_verdicts(gate, begin) for gate in report.gates)
    about = f"The candidate's weight: {course}. Dots show when the data plane began to serve it. {verdicts}"
    title = "The candidate's weight and the verdicts over time"
    return figure(name, width=width, height=bottom + BOTTOM, title=title, about=about, parts=parts)


def _way(points: Sequence[tuple[float, float]], end: float) -> Iterator[tuple[float, float]]:
    """The corners of a stepped line."""
    for (at, weight), (until, _) in zip(points, [*points[1:], (end, 0.0)], strict=True):
        yield at, weight
        yield until, weight


def _frame(x: Scale, y: Scale, begin: datetime, seconds: float, bottom: int) -> Iterator[Part]:
    yield box("plot", x.start, TOP, x.end - x.start, bottom - TOP)
    for value in (tick for tick in y.ticks(4) if tick <= FULL):
        yield line("zero" if value == 0 else "grid", x.start, y.at(value), x.end, y.at(value))
        yield words("tick", x.start - 8, y.at(value) + 4, f"{value:g} %", "end")
    for value in time_ticks(seconds, int(x.end - x.start) // 68):
        yield words("tick", x.at(value), bottom + 18, _short(value), "middle")
    yield words("axis", (x.start + x.end) / 2, bottom + 38, f"time since {moment(begin)} UTC", "middle")
    yield words("axis", 8, 14, "desired weight")


def _observed(points: Sequence[WeightPoint], begin: datetime, x: Scale, y: Scale) -> Iterator[Part]:
    """A dot for each weight, at the time when the data plane began to serve it."""
    for point in points:
        if point.observed_at is not None:
            late = (point.observed_at - point.at).total_seconds()
            tip = f"{per_cent(point.weight)} in force {lasting(late)} after it was desired"
            yield dot("seen", x.at((point.observed_at - begin).total_seconds()), y.at(point.weight), 3.2, tip)


def _marks(report: Report, x: Scale, begin: datetime, bottom: int) -> Iterator[Part]:
    """Labels at the top for events that changed the weight. Labels that would overlap are left out."""
    free = 0.0
    for event in report.timeline:
        text = _MARKED.get(event.fact)
        place = x.at((event.at - begin).total_seconds())
        if text is None or place < free:
            continue
        is_right, its = place > x.end - 90, shown(text)
        yield line(f"mark {its.tone}", place, TOP, place, bottom)
        side = "end" if is_right else "start"
        yield words(f"marked {its.tone}", place + (-5 if is_right else 5), TOP + 13, f"{its.mark} {text}", side)
        free = place + 70


def _lane(gate: GateReport, top: int, x: Scale, begin: datetime, last: datetime) -> Iterator[Part]:
    """A gate's verdicts as bars, each from its look until the next change."""
    yield words("step", x.start + 6, top + 13, gate.view.metric)
    ends = [*(turn.at for turn in gate.turns[1:]), last]
    for turn, end in zip(gate.turns, ends, strict=False):  # a gate that was never judged has no turn
        word = gate.word(turn)
        left, right = (x.at((at - begin).total_seconds()) for at in (turn.at, end))
        tip = f"{word} for {lasting((end - turn.at).total_seconds())}, step {turn.step}: {turn.reason}"
        yield tipped(tip, box(f"turn {shown(word).tone}", left, top + BAR, max(right - left, 2.0), LANE - BAR - 4))
        if right - left > 7 * (len(word) + 2) + 8:
            yield words("turned", left + 6, top + BAR + 13, f"{shown(word).mark} {word}")


def _verdicts(gate: GateReport, begin: datetime) -> str:
    turns = ", ".join(f"{gate.word(turn)} after {_short((turn.at - begin).total_seconds())}" for turn in gate.turns)
    return f"{gate.view.metric}: {turns}." if turns else ""


def _short(seconds: float) -> str:
    """A time since the start, in its largest units; "0" below a second."""
    return lasting(float(round(seconds))) if seconds >= 1 else "0"
