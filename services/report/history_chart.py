"""The chart of a model's stable builds over time, in each variation. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from sluicegate.registry.report.history import Tenure
from sluicegate.registry.words.figures import lasting, moment
from sluicegate.services.report.scale import Scale, time_ticks
from sluicegate.services.report.svg import ALONE, Part, box, figure, tipped, words

LANE, BAR, TOP, BOTTOM, EDGE = 46, 24, 6, 26, 8


def history_chart(tenures: Sequence[Tenure], now: datetime, name: str, width: int = ALONE) -> str:
    """The chart as SVG; empty if no build has been stable yet."""
    if not tenures:
        return ""
    variations = list(dict.fromkeys(each.variation for each in tenures))
    first = min(each.since for each in tenures)
    seconds = max((now - first).total_seconds(), 1.0)
    x = Scale(low=-seconds, high=0.0, start=EDGE, end=width - EDGE)
    height = TOP + LANE * len(variations) + BOTTOM
    parts = (*(part for i, each in enumerate(variations) for part in _lane(each, tenures, TOP + LANE * i, now, x)),
             *_axis(seconds, height, x))  # fmt: skip
    about = "; ".join(f"{each.variation}: v{each.build} from {moment(each.since)} UTC" for each in tenures)
    return figure(name, width=width, height=height, title="Stable builds over time", about=about, parts=parts)


def _lane(variation: str, tenures: Sequence[Tenure], top: int, now: datetime, x: Scale) -> Iterator[Part]:
    yield words("step", x.start, top + 13, f"variation {variation}")
    for i, each in enumerate(one for one in tenures if one.variation == variation):
        left, right = (x.at((at - now).total_seconds()) for at in (each.since, each.until or now))
        lasted = ((each.until or now) - each.since).total_seconds()
        tip = f"v{each.build} by {each.how}, from {moment(each.since)} UTC, for {lasting(lasted)}"
        yield tipped(tip, box(f"tenure odd{i % 2}", left, top + LANE - BAR - 4, max(right - left, 2.0), BAR))
        if right - left > 9 * (len(each.build) + 1) + 10:
            yield words("tenured", left + 6, top + LANE - 11, f"v{each.build}")


def _axis(seconds: float, height: int, x: Scale) -> Iterator[Part]:
    for value in time_ticks(seconds, max(int(x.end - x.start) // 90, 1)):
        place = x.at(-value)
        side = "end" if place > x.end - 30 else "start" if place < x.start + 30 else "middle"
        yield words("tick", place, height - 8, f"{lasting(value)} ago" if value else "now", side)
