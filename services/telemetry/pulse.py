"""Pulse: the recent past of each build, as counts by ten seconds and bin of duration. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from services.telemetry.exposure import Exposure

SECONDS = 10
"""Length of one beat."""
BINS = 128
_SHORTEST = 50.0
"""Microseconds at the lower end of bin 0."""
_PER_DECADE = 20
"""Bins per factor of ten: each is 12 % wide; the last begins at 112 seconds."""
UNTIMED = -1
"""The bin of requests without a duration."""


def bin_of(duration_us: int | None) -> int:
    """The bin of a duration in microseconds; too short and too long go to the first and last."""
    if duration_us is None:
        return UNTIMED
    if duration_us <= _SHORTEST:
        return 0
    return min(int(_PER_DECADE * math.log10(duration_us / _SHORTEST)), BINS - 1)


def edge(number: float) -> float:
    """The duration in seconds at the lower end of a bin; fractions lie inside the bin."""
    return _SHORTEST * 10 ** (number / _PER_DECADE) / 1e6


def quantile(bins: Mapping[int, int], q: float) -> float | None:
    """The q-quantile in seconds of durations counted by bin, to within a bin; None without any."""
    timed = sorted((number, n) for number, n in bins.items() if number != UNTIMED and n)
    total = sum(n for _, n in timed)
    below = 0
    for number, n in timed:
        if below + n >= q * total:
            return edge(number + (q * total - below) / n)
        below += n
    return None


def beats(exposures: Iterable[Exposure]) -> list[dict[str, Any]]:
    """Rows for the table of the pulse, in order of their keys."""
    requests: Counter[tuple[str, str, int, int]] = Counter()
    failures: Counter[tuple[str, str, int, int]] = Counter()
    for exposure in exposures:
        second = exposure.at // 1_000_000
        key = (exposure.model, exposure.assigned, second - second % SECONDS, bin_of(exposure.duration))
        requests[key] += 1
        if exposure.failed:
            failures[key] += 1
    return [
        {"model": model, "build": build, "at": at, "bin": number, "requests": n, "failed": failures[key]}
        for key, n in sorted(requests.items())
        for model, build, at, number in (key,)
    ]
