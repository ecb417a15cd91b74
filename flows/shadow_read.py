"""From the sums of a shadow's pairs to what they say: estimates with intervals, distributions, segments. Pure."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from flows.shadow_interval import Interval, of_mean, of_rate
from flows.stats.moments import Moments
from registry.rollout import Rollout
from registry.shadow_view import (
    Bar,
    ColumnView,
    Coverage,
    Estimate,
    Flip,
    LatencyView,
    SegmentView,
    ShadowView,
    WorstView,
)
from services.telemetry.bins import quantile
from services.telemetry.pair_sums import ALL, Key, Powers, edges
from services.telemetry.shadow_queries import Disagreement

ALPHA = 0.05
_PLANNED = 2_000
"""Pairs at which intervals of means are narrowest."""
_MOST_FLIPS = 30
_LEAST = 30
"""Pairs below which a segment is not shown to stand out."""
_HUGE = 1e299


@dataclass(frozen=True, kw_only=True)
class Around:
    """What is known of a shadow besides its sums."""

    rollout: str
    model: str
    stable: str
    candidate: str
    sample: float
    dropped: int = 0
    waiting: int = 0
    stored: int = 0
    worst: tuple[WorstView, ...] = ()
    declared: tuple[str, ...] = ()


Sums = Mapping[Key, Powers]


class Told(Protocol):
    """What is read of the telemetry."""

    def sums(self, rollout: str) -> dict[Key, Powers]: ...

    def worst(self, rollout: str) -> tuple[Disagreement, ...]: ...

    def waiting(self, rollout: str) -> int: ...

    def stored(self, rollout: str) -> int: ...

    def dropped(self, rollout: str) -> int: ...


def read_shadow(told: Told, rollout: Rollout, declared: tuple[str, ...] = ()) -> ShadowView:
    """What the pairs of a shadow say by now."""
    around = Around(
        declared=declared,
        rollout=rollout.id,
        model=rollout.requested.model,
        stable=rollout.stable or "",
        candidate=rollout.requested.version,
        sample=rollout.plan.steps[0].weight / 100,
        dropped=told.dropped(rollout.id),
        waiting=told.waiting(rollout.id),
        stored=told.stored(rollout.id),
        worst=tuple(worst_view(each) for each in told.worst(rollout.id)),
    )
    return shadow_view(told.sums(rollout.id), around)


def worst_view(found: Disagreement) -> WorstView:
    """A disagreement as it is shown."""
    return WorstView(
        request=found.request, at=found.at, distance=found.distance, segments=found.segments, schema=found.schema,
        cells=found.cells,
    )  # fmt: skip


def shadow_view(sums: Sums, around: Around) -> ShadowView:
    """What the sums say."""
    pairs = _counts(sums, "pairs")
    columns = sorted({subject.removeprefix("column ") for _, subject, _ in sums if subject.startswith("column ")})
    return ShadowView(
        rollout=around.rollout,
        model=around.model,
        stable=around.stable,
        candidate=around.candidate,
        sample=around.sample,
        coverage=Coverage(
            ended=_counts(sums, "copies"), dropped=around.dropped, waiting=around.waiting, pairs=pairs,
            stored=around.stored,
        ),
        disagreement=_disagreement(sums, ALL, ALPHA),
        over_time=_over_time(sums),
        columns=tuple(_column(sums, column) for column in columns),
        schema=_counts(sums, "schema"),
        declared=around.declared,
        latency=_latency(sums),
        quality=_quality(sums, ALL, ALPHA),
        segments=_segments(sums),
        worst=around.worst,
    )  # fmt: skip


def _counts(sums: Sums, subject: str, segment: str = ALL) -> dict[str, int]:
    return {key: powers.n for (where, what, key), powers in sorted(sums.items()) if (where, what) == (segment, subject)}


def _disagreement(sums: Sums, segment: str, alpha: float) -> Estimate | None:
    pairs = _counts(sums, "pairs", segment)
    differ = pairs.get("differ", 0)
    return _estimate(of_rate(differ, differ + pairs.get("agree", 0), alpha), differ + pairs.get("agree", 0))


def _over_time(sums: Sums) -> tuple[tuple[datetime, int, int], ...]:
    rows = sorted((int(key), powers) for (_, what, key), powers in sums.items() if what == "time")
    return tuple((datetime.fromtimestamp(at, UTC), powers.n, round(powers.total)) for at, powers in rows)


def _column(sums: Sums, column: str) -> ColumnView:
    found = {key: powers for (where, what, key), powers in sums.items() if (where, what) == (ALL, f"column {column}")}
    missing = {key.removeprefix("nan "): powers.n for key, powers in found.items() if key.startswith("nan ")}
    labels = [(json.loads(key), powers.n) for key, powers in found.items() if key.startswith("[")]
    if "served" in found:
        return _numbers(column, found, missing)
    if labels:
        return _labels(column, labels, missing)
    difference = found.get("difference", Powers())
    kind = "text" if difference.n else "label"
    return ColumnView(column=column, kind=kind, n=difference.n, difference=_mean(difference), missing=missing)


def _labels(column: str, labels: Sequence[tuple[list[str], int]], missing: dict[str, int]) -> ColumnView:
    n = sum(many for _, many in labels)
    differ = sum(many for (stable, candidate), many in labels if stable != candidate)
    flips = [Flip(stable=stable, candidate=candidate, n=many) for (stable, candidate), many in labels]
    ordered = sorted(flips, key=lambda flip: (flip.stable == flip.candidate, -flip.n, flip.stable, flip.candidate))
    return ColumnView(
        column=column, kind="label", n=n, flips=_estimate(of_rate(differ, n, ALPHA), n),
        confusion=tuple(ordered[:_MOST_FLIPS]), missing=missing,
    )  # fmt: skip


def _numbers(column: str, found: Mapping[str, Powers], missing: dict[str, int]) -> ColumnView:
    difference = found.get("difference", Powers())
    return ColumnView(
        column=column,
        kind="number",
        n=difference.n,
        difference=_mean(difference),
        spread=_spread(difference),
        correlation=_correlation(found),
        rank_agreement=_tau(found),
        differences=_bars(found, none="", many="d"),
        levels=_bars(found, none="s", many="c"),
        missing=missing,
    )


def _bars(found: Mapping[str, Powers], *, none: str, many: str) -> tuple[Bar, ...]:
    counts: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for key, powers in found.items():
        name, mark, number = key.partition("~")
        if mark and name in (none, many):
            counts[int(number)][name == many] += powers.n
    return tuple(
        Bar(low=edges(number)[0], high=edges(number)[1], stable=pair[0], candidate=pair[1])
        for number, pair in sorted(counts.items())
    )


def _correlation(found: Mapping[str, Powers]) -> float | None:
    served, copied = found.get("served", Powers()), found.get("copied", Powers())
    one, other = _spread(served), _spread(copied)
    if not one or not other:
        return None
    n = served.n
    covariance = found.get("product", Powers()).total / n - served.total / n * copied.total / n
    return max(-1.0, min(1.0, covariance / (one * other)))


def _tau(found: Mapping[str, Powers]) -> float | None:
    alike, turned = (found.get(key, Powers()).n for key in ("concordant", "discordant"))
    total = alike + turned + found.get("tied", Powers()).n
    return (alike - turned) / total if total else None


def _spread(powers: Powers) -> float | None:
    if powers.n < 2:
        return None
    return math.sqrt(max(powers.squares / powers.n - (powers.total / powers.n) ** 2, 0.0))


def _latency(sums: Sums) -> LatencyView | None:
    found = {key: powers for (_, what, key), powers in sums.items() if what == "latency"}
    difference = _mean(found.get("difference", Powers()))
    if difference is None:
        return None
    return LatencyView(difference=difference, stable=_times(found, "served"), candidate=_times(found, "copied"))


def _times(found: Mapping[str, Powers], whose: str) -> dict[str, float]:
    mark = f"{whose}~"
    bins = {int(key.removeprefix(mark)): powers.n for key, powers in found.items() if key.startswith(mark)}
    known = {name: quantile(bins, q) for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}
    mean = found[whose].total / found[whose].n
    return {"mean": mean} | {name: value for name, value in known.items() if value is not None}


def _quality(sums: Sums, segment: str, alpha: float) -> dict[str, Estimate]:
    named = {
        what.removeprefix("quality "): _mean(powers, alpha)
        for (where, what, key), powers in sorted(sums.items())
        if where == segment and what.startswith("quality ") and key == "difference"
    }
    return {name: estimate for name, estimate in named.items() if estimate is not None}


def _segments(sums: Sums) -> tuple[SegmentView, ...]:
    """Every segment, compared with the rest of the requests. All comparisons together have the chance ALPHA."""
    names = sorted({segment for segment, what, _ in sums if segment and what == "pairs"})
    metrics = {what for _, what, _ in sums if what.startswith("quality ")}
    alpha = ALPHA / max(len(names) * (2 + 2 * len(metrics)), 1)
    found = [view for name in names if (view := _segment(sums, name, alpha)) is not None]
    return tuple(
        sorted(found, key=lambda view: (not (view.stands_out or view.harmed), -view.disagreement.n, view.segment))
    )


def _segment(sums: Sums, name: str, alpha: float) -> SegmentView | None:
    """One segment; the interval of a mean is of both sides, so harm alone spends half of its chance."""
    quality = _quality(sums, name, 2 * alpha)
    mine = _disagreement(sums, name, alpha)
    if mine is None:
        return None
    everyone, ours = _counts(sums, "pairs"), _counts(sums, "pairs", name)
    differ = everyone.get("differ", 0) - ours.get("differ", 0)
    n = differ + everyone.get("agree", 0) - ours.get("agree", 0)
    rest = of_rate(differ, n, alpha)
    return SegmentView(
        segment=name,
        disagreement=mine,
        stands_out=mine.n >= _LEAST and rest is not None and mine.low > rest.high,
        harmed=tuple(metric for metric, each in quality.items() if each.n >= _LEAST and each.low > 0),
        quality=quality,
    )


def _mean(powers: Powers, alpha: float = ALPHA) -> Estimate | None:
    sums = Moments(n=powers.n, total=powers.total, squares=powers.squares, cubes=powers.cubes)
    return _estimate(of_mean(sums, alpha, _PLANNED), powers.n)


def _estimate(found: Interval | None, n: int) -> Estimate | None:
    if found is None or not all(abs(each) < _HUGE for each in (found.value, found.low, found.high)):
        return None
    return Estimate(value=found.value, low=found.low, high=found.high, n=n)
