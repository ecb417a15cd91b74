"""Histogram: counts durations on a logarithmic scale, and computes quantiles from such counts. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 128
_SHORTEST = 50.0
"""Microseconds at the lower end of bin 0."""
_PER_DECADE = 20
"""Bins per factor of ten. Each is 12 % wide; the last one begins at 112 seconds."""
UNTIMED = -1
"""The bin of requests without a duration."""


def bin_of(duration_us: int) -> int:
    """The bin of a duration in microseconds. The first and last bins include all shorter and longer durations."""
    return bisect_right(_STARTS, duration_us)


def _start(number: int) -> int:
    """The shortest duration in whole microseconds that belongs to a bin."""
    near = math.floor(_SHORTEST * 10 ** (number / _PER_DECADE)) - 1
    return next(each for each in range(near, near + 4) if int(_PER_DECADE * math.log10(each / _SHORTEST)) >= number)


def bins_of(durations: NDArray[Any]) -> NDArray[np.int64]:
    """The bins of durations in microseconds; a negative one means a request without a duration."""
    return np.where(durations < 0, UNTIMED, np.searchsorted(_STARTS, durations, side="right"))


_STARTS = tuple(map(_start, range(1, BINS)))
"""The starts of all bins but the first."""


def edge(number: float) -> float:
    """The duration in seconds at the lower end of a bin; a fraction of a bin lies inside it."""
    return _SHORTEST * 10 ** (number / _PER_DECADE) / 1e6


def quantile(counts: Mapping[int, int], q: float) -> float | None:
    """The q-quantile in seconds of durations counted by bin, accurate to a bin; None without durations."""
    timed = sorted((number, n) for number, n in counts.items() if number != UNTIMED and n)
    total = sum(n for _, n in timed)
    below = 0
    for number, n in timed:
        if below + n >= q * total:
            return edge(number + (q * total - below) / n)
        below += n
    return None
