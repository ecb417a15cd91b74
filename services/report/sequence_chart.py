"""The chart of a gate: the interval at every look against margin and limit, over the amount of compared data. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from sluicegate.registry.plan.fields import Source
from sluicegate.registry.report.report import GateReport, LookPoint, Turn
from sluicegate.registry.words.figures import Unit, count, difference, interval, number, scaling, share, signed
from sluicegate.services.report.scale import Scale
from sluicegate.services.report.states import shown
from sluicegate.services.report.svg import ALONE, WIDTHS, Part, box, dot, figure, left_margin, line, path, words

HEIGHT = 328
RIGHT, TOP, BOTTOM = 18, 62, 46
KEY, STEPS, VERDICT = 14, 34, 53
"""The baselines of the rows above the plot: the axis and the key, the steps' numbers, and the decision."""
LETTER = 6.5
"""About the width of a letter, in pixels."""
SAMPLE = 22
"""The length of a line in the key, in pixels."""
ROOM = 44
"""The narrowest step whose number is written above it, in pixels."""
MOST_WHISKERS = 60
"""With more looks than this, only the band shows the intervals."""


def sequence_chart(gate: GateReport, name: str, width: int = ALONE) -> str:
    """The chart as SVG; empty if no look has an estimate. `name` makes its ids unique on the page."""
    looks = [look for look in gate.looks if look.estimate is not None]
    if not looks:
        return ""
    x = Scale(low=0.0, high=looks[-1].compared * 1.08 or 1.0, start=left_margin(width), end=width - RIGHT)
    low, high = _reach(looks)
    y = Scale(low=low, high=high, start=HEIGHT - BOTTOM, end=TOP)
    parts = (
        *_frame(gate, x, y, width),
        *_key(gate, looks, width),
        *_harm(gate, looks, x, y),
        *_limit(gate, looks, x, y),
        *_steps(looks, x),
        *_intervals(looks, Unit(gate.view.unit), x, y),
        *_decision(gate.decided, looks, x),
    )
    title = f"{gate.view.metric}: difference from stable against the margin, by {gate.counted} compared"
    return figure(name, width=width, height=HEIGHT, title=title, about=_about(gate, looks[-1]), parts=parts)


def _reach(looks: Sequence[LookPoint]) -> tuple[float, float]:
    """The range of the difference axis. It covers the latest looks, and earlier ones as far as that does not shrink the
    latest too much."""
    last = [look for look in looks if look.step == looks[-1].step]
    late = last[len(last) // 2 :]
    core = [
        0.0,
        *(v for look in late for v in (look.estimate, look.low, look.high, look.bound, look.limit) if v is not None),
    ]
    span = (max(core) - min(core)) or abs(core[-1]) or 1.0
    least, most = min(core) - 0.8 * span, max(core) + 0.8 * span
    ends = [min(max(end, least), most) for look in looks for end in (look.low, look.high) if end is not None]
    low, high = min([*core, *ends]), max([*core, *ends])
    room = 0.06 * (high - low)
    return low - room, high + room


def _frame(gate: GateReport, x: Scale, y: Scale, width: int) -> Iterator[Part]:
    scale, unit = scaling(Unit(gate.view.unit), y.low, y.high)
    written = number if gate.source is Source.DISAGREEMENT else signed
    yield box("plot", x.start, TOP, x.end - x.start, HEIGHT - TOP - BOTTOM)
    for value in y.ticks():
        yield line("zero" if value == 0 else "grid", x.start, y.at(value), x.end, y.at(value))
        yield words("tick", x.start - 8, y.at(value) + 4, written(scale * value), "end")
    for value in x.ticks(int(x.end - x.start) // 68):
        yield words("tick", x.at(value), HEIGHT - BOTTOM + 18, number(value), "middle")
    middle = (x.start + x.end) / 2
    whose = "" if gate.counted == "pairs" else ", of both builds"
    yield words("axis", middle, HEIGHT - 8, f"{gate.counted} compared{whose}", "middle")
    is_narrow = width <= WIDTHS["narrow"]
    what = f"{'difference' if is_narrow else 'candidate minus stable'}{',' if unit else ''}{unit}"
    yield words("axis", 8, KEY, "pairs that differ, %" if gate.source is Source.DISAGREEMENT else what)


def _key(gate: GateReport, looks: Sequence[LookPoint], width: int) -> Iterator[Part]:
    """What the dashed and the dotted line are, above the plot, where no line or band can cover it."""
    place = float(width - RIGHT)
    for kind, text in (
        ("margin", "margin" if any(look.bound is not None for look in looks) else ""),
        ("limit", f"limit {share(gate.view.below)}" if gate.view.below is not None else ""),
    ):
        if text:
            yield line(kind, place - SAMPLE, KEY - 4, place, KEY - 4)
            yield words("label", place - SAMPLE - 5, KEY, text, "end")
            place -= LETTER * len(text) + SAMPLE + 16


def _harm(gate: GateReport, looks: Sequence[LookPoint], x: Scale, y: Scale) -> Iterator[Part]:
    """The margin as a stepped line, and the area of harm beyond it."""
    bounded = [look for look in looks if look.bound is not None]
    if not bounded:
        return
    ends = [look.compared for look in bounded]
    starts = [0.0, *ends[:-1]]
    edge = TOP if gate.worse == "higher" else HEIGHT - BOTTOM
    points: list[tuple[float, float]] = []
    for start, end, look in zip(starts, [*ends[:-1], x.high], bounded, strict=True):
        assert look.bound is not None
        points += [(x.at(start), y.clamped(look.bound)), (x.at(end), y.clamped(look.bound))]
    yield path("harm", [(points[0][0], edge), *points, (points[-1][0], edge)], closed=True)
    yield path("margin", points)


def _limit(gate: GateReport, looks: Sequence[LookPoint], x: Scale, y: Scale) -> Iterator[Part]:
    """The rate that the candidate must stay below, as a difference from stable's rate at each look."""
    points = [(x.at(look.compared), y.clamped(look.limit)) for look in looks if look.limit is not None]
    if not points or gate.view.below is None:
        return
    yield path("limit", [(x.at(0.0), points[0][1]), *points, (x.at(x.high), points[-1][1])])


def _steps(looks: Sequence[LookPoint], x: Scale) -> Iterator[Part]:
    """The boundaries and numbers of the plan's steps."""
    starts = [(x.start, looks[0].step)]
    for before, look in pairwise(looks):
        if look.step != before.step:
            place = x.at((before.compared + look.compared) / 2)
            starts.append((place, look.step))
            yield line("boundary", place, TOP, place, HEIGHT - BOTTOM)
    for (place, step), (until, _) in pairwise([*starts, (x.end + RIGHT, 0)]):
        if until - place > ROOM:
            yield words("step", place + 5, STEPS, f"step {step}")


def _intervals(looks: Sequence[LookPoint], unit: Unit, x: Scale, y: Scale) -> Iterator[Part]:
    bounded = [look for look in looks if look.low is not None and look.high is not None]
    upper = [(x.at(look.compared), y.at(look.high or 0.0)) for look in bounded]
    lower = [(x.at(look.compared), y.at(look.low or 0.0)) for look in bounded]
    yield path("band", [*upper, *reversed(lower)], closed=True, rows=(TOP, HEIGHT - BOTTOM))
    for look in looks if len(looks) <= MOST_WHISKERS else ():
        low = y.start if look.low is None else y.clamped(look.low)
        high = y.end if look.high is None else y.clamped(look.high)
        yield line("whisker", x.at(look.compared), low, x.at(look.compared), high)
    yield path("estimate", [(x.at(look.compared), y.clamped(look.estimate or 0.0)) for look in looks])
    for look in looks:
        yield dot("look", x.at(look.compared), y.clamped(look.estimate or 0.0), 3.2, _tip(look, unit))


def _decision(turn: Turn | None, looks: Sequence[LookPoint], x: Scale) -> Iterator[Part]:
    decisive = next((look for look in looks if turn is not None and look.k == turn.k), None)
    if turn is None or decisive is None:
        return
    place, kind = x.at(decisive.compared), shown(turn.verdict).tone
    yield line(f"decision {kind}", place, VERDICT + 4, place, HEIGHT - BOTTOM)
    side = "start" if place < x.start + ROOM else "end" if place > x.end - ROOM else "middle"
    yield words(f"verdict {kind}", place, VERDICT, f"{shown(turn.verdict).mark} {turn.verdict}", side)


def _tip(look: LookPoint, unit: Unit) -> str:
    ends = interval(look.low, look.high, unit)
    return f"look {look.k}, step {look.step}: {difference(look.estimate, unit)}, CI {ends}, {look.verdict}"


def _about(gate: GateReport, last: LookPoint) -> str:
    unit, decided = Unit(gate.view.unit), gate.decided
    bound = "" if last.bound is None else f"; the margin is {difference(last.bound, unit)}"
    limit = "" if gate.view.below is None else f"; the candidate's rate must stay below {share(gate.view.below)}"
    when = f"{decided.verdict} at look {decided.k}." if decided else "Not decided."
    return (
        f"{len(gate.looks)} looks. At the last, after {count(last.compared)} {gate.counted}, the difference is "
        f"{difference(last.estimate, unit)}, CI {interval(last.low, last.high, unit)}{bound}{limit}. {when} "
        "The table below has every look."
    )
