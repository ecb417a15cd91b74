"""Turns the sums of a shadow's pairs into estimates with intervals, distributions and slices. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from sluicegate.flows.shadow.columns import ALPHA, Sums, column_view, estimate, mean
from sluicegate.flows.stats.confidence_sequences import rate_interval
from sluicegate.registry.plan.fields import MetricSpec, Source
from sluicegate.registry.report.shadow_view import (
    Coverage,
    Estimate,
    JudgedView,
    LatencyView,
    ShadowView,
    SliceView,
    WorstView,
)
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.tally import Tally
from sluicegate.services.telemetry.pairs.disagreement import Disagreement
from sluicegate.services.telemetry.pairs.sums import ALL, Key
from sluicegate.services.telemetry.tally.histogram import quantile

_LEAST = 30
"""Number of pairs from which a slice may stand out."""


@dataclass(frozen=True, kw_only=True)
class ShadowContext:
    """What the view of a shadow needs besides its sums."""

    rollout: str
    model: str
    stable: str
    candidate: str
    sample: float
    dropped: int = 0
    waiting: int = 0
    stored: int = 0
    worst: tuple[WorstView, ...] = ()
    metrics: Mapping[str, MetricSpec] = field(default_factory=dict)
    """The plan's metrics that compare answers."""
    declared: tuple[str, ...] = ()


class ShadowTelemetry(Protocol):
    """The telemetry of a shadow's pairs."""

    def sums(self, rollout: str) -> dict[Key, Tally]: ...

    def worst(self, rollout: str) -> tuple[Disagreement, ...]: ...

    def waiting(self, rollout: str) -> int: ...

    def stored(self, rollout: str) -> int: ...

    def dropped(self, rollout: str) -> int: ...


def read_shadow(telemetry: ShadowTelemetry, rollout: Rollout, declared: tuple[str, ...] = ()) -> ShadowView:
    """The present comparison of a shadow's pairs."""
    context = ShadowContext(
        declared=declared,
        rollout=rollout.id,
        model=rollout.requested.model,
        stable=rollout.stable or "",
        candidate=rollout.requested.version,
        sample=rollout.plan.steps[0].weight / 100,
        dropped=telemetry.dropped(rollout.id),
        waiting=telemetry.waiting(rollout.id),
        stored=telemetry.stored(rollout.id),
        metrics={name: metric for name, metric in rollout.plan.metrics.items() if metric.source is Source.DISAGREEMENT},
        worst=tuple(_worst_view(disagreement) for disagreement in telemetry.worst(rollout.id)),
    )
    return shadow_view(telemetry.sums(rollout.id), context)


def _worst_view(disagreement: Disagreement) -> WorstView:
    """A disagreement for display."""
    return WorstView(
        request=disagreement.request, at=disagreement.at, distance=disagreement.distance,
        slices=disagreement.segments, schema=disagreement.schema, cells=disagreement.cells,
        beyond=disagreement.beyond,
    )  # fmt: skip


def shadow_view(sums: Sums, context: ShadowContext) -> ShadowView:
    """The comparison that follows from the sums."""
    columns = sorted({subject.removeprefix("column ") for _, subject, _ in sums if subject.startswith("column ")})
    return ShadowView(
        rollout=context.rollout,
        model=context.model,
        stable=context.stable,
        candidate=context.candidate,
        sample=context.sample,
        coverage=_coverage(sums, context),
        disagreement=_disagreement(sums, ALL, ALPHA),
        over_time=_over_time(sums, "time"),
        judged=tuple(_judged(sums, context.metrics)),
        columns=tuple(column_view(sums, column) for column in columns),
        schema=_counts(sums, "schema"),
        declared=context.declared,
        latency=_latency(sums),
        quality=_quality(sums, ALL, ALPHA),
        slices=_slices(sums, tuple(context.metrics)),
        worst=context.worst,
    )  # fmt: skip


def _coverage(sums: Sums, context: ShadowContext) -> Coverage:
    ended = _counts(sums, "copies")
    copies = sum(ended.values()) + context.dropped
    answered = sum(ended.get(kind, 0) for kind in ("answered", "refused", "error"))
    return Coverage(
        ended=ended, dropped=context.dropped, waiting=context.waiting, pairs=_counts(sums, "pairs"),
        stored=context.stored, copies=copies, never_answered=copies - answered,
    )  # fmt: skip


def _counts(sums: Sums, subject: str, segment: str = ALL) -> dict[str, int]:
    return {key: tally.n for (where, what, key), tally in sorted(sums.items()) if (where, what) == (segment, subject)}


def _judged(sums: Sums, metrics: Mapping[str, MetricSpec]) -> Iterator[JudgedView]:
    for name, metric in metrics.items():
        disagreement = _disagreement(sums, ALL, ALPHA, subject=f"judged {name}")
        if disagreement is not None:
            yield JudgedView(
                metric=name, column=metric.prediction.column if metric.prediction else None,
                within=metric.agree_within, disagreement=disagreement, over_time=_over_time(sums, f"timed {name}"),
            )  # fmt: skip


def _disagreement(sums: Sums, segment: str, alpha: float, subject: str = "pairs") -> Estimate | None:
    pairs = _counts(sums, subject, segment)
    differ = pairs.get("differ", 0)
    return estimate(rate_interval(differ, differ + pairs.get("agree", 0), alpha), differ + pairs.get("agree", 0))


def _over_time(sums: Sums, subject: str) -> tuple[tuple[datetime, int, int], ...]:
    rows = sorted((int(key), tally) for (_, what, key), tally in sums.items() if what == subject)
    return tuple((datetime.fromtimestamp(at, UTC), tally.n, round(tally.total)) for at, tally in rows)


def _latency(sums: Sums) -> LatencyView | None:
    by_key = {key: tally for (_, what, key), tally in sums.items() if what == "latency"}
    difference = mean(by_key.get("difference", Tally()))
    if difference is None:
        return None
    return LatencyView(difference=difference, stable=_times(by_key, "served"), candidate=_times(by_key, "copied"))


def _times(by_key: Mapping[str, Tally], whose: str) -> dict[str, float]:
    mark = f"{whose}~"
    bins = {int(key.removeprefix(mark)): tally.n for key, tally in by_key.items() if key.startswith(mark)}
    quantiles = {name: quantile(bins, q) for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}
    mean = by_key[whose].total / by_key[whose].n
    return {"mean": mean} | {name: value for name, value in quantiles.items() if value is not None}


def _quality(sums: Sums, segment: str, alpha: float) -> dict[str, Estimate]:
    named = {
        what.removeprefix("quality "): mean(tally, alpha)
        for (where, what, key), tally in sorted(sums.items())
        if where == segment and what.startswith("quality ") and key == "difference"
    }
    return {name: estimate for name, estimate in named.items() if estimate is not None}


def _slices(sums: Sums, judging: tuple[str, ...]) -> tuple[SliceView, ...]:
    """Every slice, compared with all other requests. All comparisons together have a false-alarm chance of ALPHA."""
    names = sorted({segment for segment, what, _ in sums if segment and what == "pairs"})
    metrics = {what for _, what, _ in sums if what.startswith("quality ")}
    alpha = ALPHA / max(len(names) * (2 * max(len(judging), 1) + 2 * len(metrics)), 1)
    views = [view for name in names if (view := _slice(sums, name, judging, alpha)) is not None]
    return tuple(
        sorted(views, key=lambda view: (not (view.stands_out or view.harmed), -view.disagreement.n, view.slice))
    )


def _slice(sums: Sums, name: str, judging: tuple[str, ...], alpha: float) -> SliceView | None:
    """One slice. Intervals of means are two-sided, so they get twice alpha: harm alone uses half of it."""
    quality = _quality(sums, name, 2 * alpha)
    mine = _disagreement(sums, name, alpha)
    if mine is None:
        return None
    judged = {metric: _disagreement(sums, name, alpha, f"judged {metric}") for metric in judging}
    subjects = {f"judged {metric}": estimate for metric, estimate in judged.items()} or {"pairs": mine}
    return SliceView(
        slice=name,
        disagreement=mine,
        judged={metric: estimate for metric, estimate in judged.items() if estimate is not None},
        stands_out=any(_differs_more(sums, name, subject, each, alpha) for subject, each in subjects.items()),
        harmed=tuple(metric for metric, change in quality.items() if change.n >= _LEAST and change.low > 0),
        quality=quality,
    )


def _differs_more(sums: Sums, segment: str, subject: str, mine: Estimate | None, alpha: float) -> bool:
    """Whether a slice's pairs differ significantly more often than all other pairs."""
    everyone, ours = _counts(sums, subject), _counts(sums, subject, segment)
    differ = everyone.get("differ", 0) - ours.get("differ", 0)
    n = differ + everyone.get("agree", 0) - ours.get("agree", 0)
    rest = rate_interval(differ, n, alpha)
    return mine is not None and mine.n >= _LEAST and rest is not None and mine.low > rest.high
