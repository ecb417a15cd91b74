"""The samples of an external gate against its limit, over time. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sluicegate.registry.report.external_view import ExternalGateView, SampleView
from sluicegate.registry.words.figures import clock, lasting, number
from sluicegate.services.report.scale import Scale, time_ticks
from sluicegate.services.report.svg import ALONE, Part, box, dot, figure, left_margin, line, path, words

HEIGHT, TOP, BOTTOM, RIGHT = 150, 14, 26, 18


def external_chart(gate: ExternalGateView, name: str, width: int = ALONE) -> str:
    """The chart as SVG; empty for fewer than two values."""
    points = [(each, each.value) for each in gate.samples if each.value is not None]
    if len(points) < 2:
        return ""
    begin = points[0][0].at
    seconds = max((points[-1][0].at - begin).total_seconds(), 1.0)
    limits = [end for end in (gate.below, gate.above) if end is not None]
    values = [value for _, value in points] + limits
    room = (max(values) - min(values)) * 0.08 or abs(values[0]) * 0.1 or 1.0
    x = Scale(low=0.0, high=seconds, start=left_margin(width), end=width - RIGHT)
    y = Scale(low=min(values) - room, high=max(values) + room, start=HEIGHT - BOTTOM, end=TOP)
    places = [(x.at((each.at - begin).total_seconds()), y.at(value)) for each, value in points]
    parts = (
        box("plot", x.start, TOP, x.end - x.start, HEIGHT - BOTTOM - TOP),
        *(words("tick", x.start - 8, y.at(value) + 4, number(value), "end") for value in y.ticks(4)),
        *(words("tick", x.at(at), HEIGHT - 8, lasting(at) if at else "0", "middle") for at in time_ticks(seconds, 5)),
        *(line("margin", x.start, y.at(end), x.end, y.at(end)) for end in limits),
        path("estimate", places),
        *_dots([each for each, _ in points], places),
    )
    broken = sum(each.keeps is False for each in gate.samples)
    about = (
        f"{len(points)} samples from {gate.source}, last {number(points[-1][1])}; {broken} break the limit "
        f"({gate.limit})."
    )
    title = f"{gate.gate} against its limit, {gate.limit}"
    return figure(name, width=width, height=HEIGHT, title=title, about=about, parts=parts)


def _dots(samples: Sequence[SampleView], places: Sequence[tuple[float, float]]) -> Iterator[Part]:
    for each, (left, top) in zip(samples, places, strict=True):
        tip = f"sample {each.k} at {clock(each.at)} UTC: {number(each.value)}"
        yield dot("look" if each.keeps else "broken", left, top, 2.4 if each.keeps else 4, tip)
