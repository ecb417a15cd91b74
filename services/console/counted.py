"""Counted: what the telemetry says of a rollout, or that it cannot be read. State and orders need the ledger alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

from sluicegate.registry.ledger.reading import read_for_report
from sluicegate.registry.report.overview import Served
from sluicegate.registry.report.pulse import Pulse
from sluicegate.registry.report.report import Evidence, Report, SampleRatio, rollout_report
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import Unreachable
from sluicegate.services.console.ports import Desk

T = TypeVar("T")


def requests(desk: Desk, rollouts: Sequence[Rollout]) -> Mapping[str, tuple[int, int]]:
    """Requests assigned to (stable, candidate) at the present weight of each rollout; none where nobody can count them
    now."""
    return _asked(desk, desk.requests, rollouts)


def generated(desk: Desk, rollouts: Sequence[Rollout]) -> Mapping[str, int]:
    """Requests that no caller sent, of each rollout whose plan asks for some; none where nobody can count them now."""
    return _asked(desk, desk.generated, [each for each in rollouts if each.plan.generate is not None])


def errors(desk: Desk, rollouts: Sequence[Rollout]) -> Mapping[str, Mapping[str, str]]:
    """What the errors of each arm died of, by rollout; nothing where that cannot be read."""
    return _asked(desk, desk.errors, rollouts)


def _asked(
    desk: Desk, question: Callable[[Sequence[Rollout]], Mapping[str, T]], rollouts: Sequence[Rollout]
) -> Mapping[str, T]:
    """By rollout; nothing where the telemetry does not answer."""
    if not rollouts:
        return {}
    try:
        return desk.in_time(lambda: question(rollouts))
    except Unreachable:
        return {}


def evidence(desk: Desk, rollout: Rollout) -> Evidence:
    """What telemetry adds to what is said of a rollout, or why it adds nothing."""
    try:
        return desk.in_time(lambda: desk.evidence(rollout))
    except Unreachable as error:
        uncounted = SampleRatio(answer="NOT TESTED", reason="requests cannot be counted now")
        return Evidence(sample_ratio=uncounted, unread=str(error))


def report(desk: Desk, rollout: Rollout) -> Report:
    """The report of a rollout as it stands, with what telemetry adds to it."""
    return rollout_report(read_for_report(desk.ledger, rollout), desk.clock(), evidence(desk, rollout))


def pulses(desk: Desk, models: Collection[str]) -> Mapping[str, Pulse]:
    """How many requests each model got lately; nothing where that cannot be read."""
    try:
        return desk.in_time(lambda: desk.pulses(models))
    except Unreachable:
        return {}


def overview(desk: Desk, models: Collection[str]) -> tuple[Sequence[Served], str | None]:
    """Every build that an audience gets; and why nothing is observed of them, where that cannot be read."""
    try:
        return desk.in_time(lambda: desk.overview(models)), None
    except Unreachable as error:
        return desk.desired(models), str(error)
