"""Counted: figures from the telemetry, or the reason why it cannot be read. State and orders need only the ledger."""

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
    """Requests assigned to (stable, candidate) at the present weight of each rollout; empty while the telemetry cannot
    be read."""
    return _by_rollout(desk, desk.requests, rollouts)


def generated(desk: Desk, rollouts: Sequence[Rollout]) -> Mapping[str, int]:
    """Generated requests of each rollout whose plan generates some; empty while the telemetry cannot be read."""
    return _by_rollout(desk, desk.generated, [each for each in rollouts if each.plan.generate is not None])


def errors(desk: Desk, rollouts: Sequence[Rollout]) -> Mapping[str, Mapping[str, str]]:
    """The causes of each arm's errors, by rollout; empty while the telemetry cannot be read."""
    return _by_rollout(desk, desk.errors, rollouts)


def _by_rollout(
    desk: Desk, query: Callable[[Sequence[Rollout]], Mapping[str, T]], rollouts: Sequence[Rollout]
) -> Mapping[str, T]:
    """The result of a query by rollout; empty if the telemetry does not answer."""
    if not rollouts:
        return {}
    try:
        return desk.in_time(lambda: query(rollouts))
    except Unreachable:
        return {}


def evidence(desk: Desk, rollout: Rollout) -> Evidence:
    """What the telemetry adds to a rollout's report, or the reason why it adds nothing."""
    try:
        return desk.in_time(lambda: desk.evidence(rollout))
    except Unreachable as error:
        uncounted = SampleRatio(answer="NOT TESTED", reason="requests cannot be counted now")
        return Evidence(sample_ratio=uncounted, unread=str(error))


def report(desk: Desk, rollout: Rollout) -> Report:
    """The report of a rollout as it is now, with the evidence from the telemetry."""
    return rollout_report(read_for_report(desk.ledger, rollout), desk.clock(), evidence(desk, rollout))


def pulses(desk: Desk, models: Collection[str]) -> Mapping[str, Pulse]:
    """Recent requests of each model; empty while the telemetry cannot be read."""
    try:
        return desk.in_time(lambda: desk.pulses(models))
    except Unreachable:
        return {}


def overview(desk: Desk, models: Collection[str]) -> tuple[Sequence[Served], str | None]:
    """Every build that an audience gets; and, while the telemetry cannot be read, the reason for missing figures."""
    try:
        return desk.in_time(lambda: desk.overview(models)), None
    except Unreachable as error:
        return desk.desired(models), str(error)
