"""Figures: numbers, shares, durations and times as people read them, on every page, in every message. Pure.

No exponents, and no more digits than mean something. Files and programs read other forms: see `units`.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from enum import StrEnum

from sluicegate.registry.words.units import format_duration

NONE = "–"
_MOST_DECIMALS = 12
_DIGIT = re.compile("[1-9]")
_DAYS = 30
"""How many days back a time is written as a distance from now."""
_AHEAD = 5
"""Seconds by which the clocks of two hosts may differ before a time counts as in the future."""


class Unit(StrEnum):
    """What a metric's values are measured in."""

    PLAIN = "plain"
    SHARE = "share"
    SECONDS = "seconds"


def count(value: int) -> str:
    """A whole number with thousands separators."""
    return f"{value:,}"


def number(value: float | None) -> str:
    """Three significant digits, or the whole part if it is longer; – for None."""
    if value is None:
        return NONE
    text = fixed(value, decimals(value, 3))
    return text.rstrip("0").rstrip(".") if "." in text else text


def signed(value: float | None) -> str:
    """Like `number`, with a sign; 0 has none."""
    return number(value) if not value or value < 0 else f"+{number(value)}"


def per_cent(value: float | None) -> str:
    """A share given in per cent."""
    return NONE if value is None else f"{number(value)} %"


def share(value: float | None) -> str:
    """A share given as a fraction."""
    return per_cent(None if value is None else 100 * value)


def shares(low: float, high: float) -> str:
    """An interval of shares given as fractions, such as "0.1 to 0.5 %"."""
    digits = places(None, 100 * low, 100 * high)
    return f"{bounded(100 * low, digits)} to {bounded(100 * high, digits)} %"


def measured(value: float | None, unit: Unit) -> str:
    """A value of a metric, in its unit."""
    if value is None:
        return NONE
    match unit:
        case Unit.SHARE:
            return share(value)
        case Unit.SECONDS:
            return f"{number(value)} s" if abs(value) >= 1 else f"{number(1000 * value)} ms"
        case Unit.PLAIN:
            return number(value)


def difference(value: float | None, unit: Unit) -> str:
    """A difference of a metric with its sign, in the metric's unit."""
    if value is None:
        return NONE
    scale, name = scaling(unit, value)
    return f"{signed(scale * value)}{name}"


def interval(low: float | None, high: float | None, unit: Unit) -> str:
    """The interval of a difference, in the metric's unit; an end without a bound yet is …"""
    scale, name = scaling(unit, low, high)
    shown = [None if end is None else scale * end for end in (low, high)]
    least, most = ("…" if end is None else bounded(end, places(None, *shown)) for end in shown)
    return f"{least} to {most}{name}"


def scaling(unit: Unit, *values: float | None) -> tuple[float, str]:
    """The factor by which differences are multiplied to be shown, and the unit that they then have."""
    match unit:
        case Unit.PLAIN:
            return 1.0, ""
        case Unit.SHARE:
            return 100.0, " percentage points"
        case Unit.SECONDS:
            most = max((abs(each) for each in values if each is not None), default=0.0)
            return (1.0, " s") if most >= 1 else (1000.0, " ms")


def places(value: float | None, low: float | None, high: float | None) -> int:
    """The decimals of a difference: two significant digits of half its interval. More would be noise."""
    ends = [each for each in (low, high) if each is not None]
    if len(ends) == 2 and ends[0] != ends[1]:
        return decimals((ends[1] - ends[0]) / 2, 2)
    return decimals(max((abs(each) for each in (value, *ends) if each is not None), default=0.0), 2)


def bounded(end: float, places: int) -> str:
    """An end of an interval with this many decimals, or more if it would otherwise read as 0 without being 0."""
    text = fixed(end, places)
    return text if end == 0 or _DIGIT.search(text) else fixed(end, decimals(end, 1))


def decimals(value: float, digits: int) -> int:
    """How many decimals show this many significant digits of a value."""
    if not math.isfinite(value) or value == 0:
        return 0
    return min(max(digits - 1 - math.floor(math.log10(abs(value))), 0), _MOST_DECIMALS)


def fixed(value: float, places: int) -> str:
    """A value with this many decimals, without a sign if it reads as 0."""
    if not math.isfinite(value):
        return "unbounded"
    text = f"{value:,.{places}f}"
    return text if _DIGIT.search(text) else text.removeprefix("-")


def lasting(seconds: float) -> str:
    """A duration in at most its two largest units."""
    for size, digit in ((86_400.0, 3_600), (3_600.0, 60), (60.0, 1)):
        if seconds >= size:
            return format_duration(float(round(seconds / digit) * digit))
    return f"{round(seconds, 1):g}s" if seconds < 10 else format_duration(float(round(seconds)))


def day(at: datetime) -> str:
    """The date, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d}"


def clock(at: datetime) -> str:
    """The time of the day, in UTC."""
    return f"{at.astimezone(UTC):%H:%M:%S}"


def moment(at: datetime) -> str:
    """Date and time, in UTC."""
    return f"{day(at)} {clock(at)}"


def ago(at: datetime, now: datetime) -> str:
    """How long before or after `now` a time is, in its largest unit; the date if it is more than a month away.

    A time a few seconds ahead reads "just now": it is another host's clock, not the future.
    """
    seconds = (now - at).total_seconds()
    for unit, size in (("day", 86_400), ("h", 3_600), ("min", 60)):
        whole = int(abs(seconds) // size)
        if whole > _DAYS and unit == "day":
            return f"{at.astimezone(UTC):%-d %b %Y}"
        if whole:
            span = f"{whole} {unit}{'s' if unit == 'day' and whole > 1 else ''}"
            return f"{span} ago" if seconds > 0 else f"in {span}"
    return "just now" if seconds > -_AHEAD else "in less than a minute"
