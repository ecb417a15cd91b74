"""Views of one column of answers, from its sums: labels, numbers or texts. Also estimates for all views. Pure."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from sluicegate.flows.stats.confidence_sequences import Interval, mean_interval, rate_interval
from sluicegate.registry.report.shadow_view import Bar, ColumnView, Estimate, Flip
from sluicegate.registry.words.tally import Tally
from sluicegate.services.telemetry.pairs.sums import ALL, Key, edges

ALPHA = 0.05
_PLANNED = 2_000
"""Number of pairs at which intervals of means are narrowest."""
_MOST_FLIPS = 30
_HUGE = 1e299
Sums = Mapping[Key, Tally]


def column_view(sums: Sums, column: str) -> ColumnView:
    """How stable's and the candidate's values of a column compare."""
    by_key = {key: tally for (where, what, key), tally in sums.items() if (where, what) == (ALL, f"column {column}")}
    missing = {key.removeprefix("nan "): tally.n for key, tally in by_key.items() if key.startswith("nan ")}
    labels = [(json.loads(key), tally.n) for key, tally in by_key.items() if key.startswith("[")]
    if "served" in by_key:
        return _numbers(column, by_key, missing)
    if labels:
        return _labels(column, labels, missing)
    difference = by_key.get("difference", Tally())
    kind = "text" if difference.n else "label"
    return ColumnView(column=column, kind=kind, n=difference.n, difference=mean(difference), missing=missing)


def _labels(column: str, labels: Sequence[tuple[list[str], int]], missing: dict[str, int]) -> ColumnView:
    n = sum(many for _, many in labels)
    differ = sum(many for (stable, candidate), many in labels if stable != candidate)
    flips = [Flip(stable=stable, candidate=candidate, n=many) for (stable, candidate), many in labels]
    ordered = sorted(flips, key=lambda flip: (flip.stable == flip.candidate, -flip.n, flip.stable, flip.candidate))
    return ColumnView(
        column=column, kind="label", n=n, flips=estimate(rate_interval(differ, n, ALPHA), n),
        confusion=tuple(ordered[:_MOST_FLIPS]), missing=missing,
    )  # fmt: skip


def _numbers(column: str, by_key: Mapping[str, Tally], missing: dict[str, int]) -> ColumnView:
    difference = by_key.get("difference", Tally())
    return ColumnView(
        column=column,
        kind="number",
        n=difference.n,
        difference=mean(difference),
        spread=_spread(difference),
        correlation=_correlation(by_key),
        rank_agreement=_tau(by_key),
        differences=_bars(by_key, none="", many="d"),
        levels=_bars(by_key, none="s", many="c"),
        missing=missing,
    )


def _bars(by_key: Mapping[str, Tally], *, none: str, many: str) -> tuple[Bar, ...]:
    counts: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for key, tally in by_key.items():
        name, mark, number = key.partition("~")
        if mark and name in (none, many):
            counts[int(number)][name == many] += tally.n
    return tuple(
        Bar(low=edges(number)[0], high=edges(number)[1], stable=pair[0], candidate=pair[1])
        for number, pair in sorted(counts.items())
    )


def _correlation(by_key: Mapping[str, Tally]) -> float | None:
    served, copied = by_key.get("served", Tally()), by_key.get("copied", Tally())
    one, other = _spread(served), _spread(copied)
    if not one or not other:
        return None
    n = served.n
    covariance = by_key.get("product", Tally()).total / n - served.total / n * copied.total / n
    return max(-1.0, min(1.0, covariance / (one * other)))


def _tau(by_key: Mapping[str, Tally]) -> float | None:
    alike, turned = (by_key.get(key, Tally()).n for key in ("concordant", "discordant"))
    total = alike + turned + by_key.get("tied", Tally()).n
    return (alike - turned) / total if total else None


def _spread(tally: Tally) -> float | None:
    if tally.n < 2:
        return None
    return math.sqrt(max(tally.squares / tally.n - (tally.total / tally.n) ** 2, 0.0))


def mean(tally: Tally, alpha: float = ALPHA) -> Estimate | None:
    """The mean with its confidence interval; None for fewer than two values."""
    return estimate(mean_interval(tally, alpha, _PLANNED), tally.n)


def estimate(interval: Interval | None, n: int) -> Estimate | None:
    """The interval as an estimate for display; None if it is infinite or too large to show."""
    if interval is None or not all(abs(end) < _HUGE for end in (interval.value, interval.low, interval.high)):
        return None
    return Estimate(value=interval.value, low=interval.low, high=interval.high, n=n)
