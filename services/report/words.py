"""The words and figures of a report's page. Pure."""

from __future__ import annotations

from datetime import datetime

from sluicegate.registry.report.report import Report
from sluicegate.registry.report.view import RolloutView
from sluicegate.registry.words.units import format_duration, format_share

_GOOD = ("promoted", "established")
_BAD = ("aborted", "failed")


def state(rollout: RolloutView) -> str:
    """Where it is, or how it ended."""
    return rollout.ending or rollout.phase


def tone(rollout: RolloutView) -> str:
    """How a reader should take the state."""
    if rollout.ending in _GOOD:
        return "good"
    if rollout.ending in _BAD:
        return "bad"
    return "plain" if rollout.ending else "wait"


def headline(report: Report) -> str:
    """What became of it, in a sentence."""
    rollout = report.rollout
    candidate, by = f"v{rollout.candidate}", f" (by {rollout.actor})" if rollout.actor else ""
    match rollout.ending:
        case "promoted":
            sentence = f"{candidate} takes all traffic"
        case "established":
            sentence = f"{candidate} is the first stable build"
        case "aborted":
            sentence = f"{candidate} was taken back; all weight returned to {_stable(rollout)}"
        case "failed":
            sentence = f"{candidate} could not be launched; {_stable(rollout)} was never disturbed"
        case "superseded":
            sentence = f"{candidate} gave way to a newer candidate"
        case "concluded":
            sentence = f"{candidate} was compared and nothing was changed"
        case _:
            sentence = f"{candidate} is {rollout.phase} at {rollout.weight:g} %"
    return f"{sentence}: {rollout.reason}{by}."


def _stable(rollout: RolloutView) -> str:
    return f"stable v{rollout.stable}" if rollout.stable else "stable"


def figure(value: float | None) -> str:
    """Four digits; – for none."""
    return "–" if value is None else f"{value:.4g}"


def signed(value: float | None) -> str:
    """Four digits with the sign; – for none."""
    return "–" if value is None else f"{value:+.4g}"


def share(value: float) -> str:
    """A share with its per cent sign."""
    return format_share(value)


def count(value: int) -> str:
    """A whole number with its thousands apart."""
    return f"{value:,}"


def day(value: datetime) -> str:
    """The date."""
    return f"{value:%Y-%m-%d}"


def clock(value: datetime) -> str:
    """The time of the day."""
    return f"{value:%H:%M:%S}"


def lasting(seconds: float) -> str:
    """A duration in at most its two largest units."""
    for size, digit in ((86_400.0, 3_600), (3_600.0, 60), (60.0, 1)):
        if seconds >= size:
            return format_duration(float(round(seconds / digit) * digit))
    return format_duration(round(seconds, 1)) if seconds < 10 else format_duration(float(round(seconds)))
