"""What the sums of one column of answers say: labels, numbers, texts; and the estimates that every part uses. Pure."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from sluicegate.flows.gate.pair_interval import Interval, of_mean, of_rate
from sluicegate.flows.stats.moments import Moments
from sluicegate.registry.report.shadow_view import Bar, ColumnView, Estimate, Flip
from sluicegate.services.telemetry.pairs.sums import ALL, Key, Powers, edges

ALPHA = 0.05
_PLANNED = 2_000
"""Pairs at which intervals of means are narrowest."""
_MOST_FLIPS = 30
_HUGE = 1e299
Sums = Mapping[Key, Powers]


def column_view(sums: Sums, column: str) -> ColumnView:
    """How the values of a column compare."""
    found = {key: powers for (where, what, key), powers in sums.items() if (where, what) == (ALL, f"column {column}")}
    missing = {key.removeprefix("nan "): powers.n for key, powers in found.items() if key.startswith("nan ")}
    labels = [(json.loads(key), powers.n) for key, powers in found.items() if key.startswith("[")]
    if "served" in found:
        return _numbers(column, found, missing)
    if labels:
        return _labels(column, labels, missing)
    difference = found.get("difference", Powers())
    kind = "text" if difference.n else "label"
    return ColumnView(column=column, kind=kind, n=difference.n, difference=mean(difference), missing=missing)


def _labels(column: str, labels: Sequence[tuple[list[str], int]], missing: dict[str, int]) -> ColumnView:
    n = sum(many for _, many in labels)
    differ = sum(many for (stable, candidate), many in labels if stable != candidate)
    flips = [Flip(stable=stable, candidate=candidate, n=many) for (stable, candidate), many in labels]
    ordered = sorted(flips, key=lambda flip: (flip.stable == flip.candidate, -flip.n, flip.stable, flip.candidate))
    return ColumnView(
        column=column, kind="label", n=n, flips=estimate(of_rate(differ, n, ALPHA), n),
        confusion=tuple(ordered[:_MOST_FLIPS]), missing=missing,
    )  # fmt: skip


def _numbers(column: str, found: Mapping[str, Powers], missing: dict[str, int]) -> ColumnView:
    difference = found.get("difference", Powers())
    return ColumnView(
        column=column,
        kind="number",
        n=difference.n,
        difference=mean(difference),
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


def mean(powers: Powers, alpha: float = ALPHA) -> Estimate | None:
    """The mean of values with its interval; None for fewer than two."""
    sums = Moments(n=powers.n, total=powers.total, squares=powers.squares, cubes=powers.cubes)
    return estimate(of_mean(sums, alpha, _PLANNED), powers.n)


def estimate(found: Interval | None, n: int) -> Estimate | None:
    """An interval as it is shown; None where it cannot be written as numbers."""
    if found is None or not all(abs(each) < _HUGE for each in (found.value, found.low, found.high)):
        return None
    return Estimate(value=found.value, low=found.low, high=found.high, n=n)
