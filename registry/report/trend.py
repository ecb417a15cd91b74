"""Trend: how a metric of both builds developed from look to look. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sluicegate.registry.plan.fields import Source
from sluicegate.registry.report.reason import unit_of
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.verdict import Look


@dataclass(frozen=True, kw_only=True)
class Trend:
    """The means of both builds at every look, in order."""

    metric: str
    unit: str
    """The unit of its values: plain, share or seconds."""
    points: tuple[tuple[float, float], ...]
    """Stable's mean and the candidate's."""


def trends(rollout: Rollout, looks: Sequence[Look]) -> tuple[Trend, ...]:
    """The trends of the goal, which is the first gate, and of the error rate, if they are judged."""
    return tuple(_trend(rollout, metric, looks) for metric in dict.fromkeys(_wanted(rollout)))


def _wanted(rollout: Rollout) -> Iterator[str]:
    plan = rollout.plan
    yield from (gate.metric for gate in plan.gates[:1])
    judged = [gate.metric for gate in (*plan.gates, *plan.guardrails)]
    yield from [metric for metric in judged if plan.metrics[metric].source is Source.STATUS][:1]


def _trend(rollout: Rollout, metric: str, looks: Sequence[Look]) -> Trend:
    means = [(look.verdict.stable_mean, look.verdict.candidate_mean) for look in looks if look.metric == metric]
    points = tuple((stable, candidate) for stable, candidate in means if stable is not None and candidate is not None)
    return Trend(metric=metric, unit=unit_of(rollout.plan.metrics[metric]).value, points=points)
