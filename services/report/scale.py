"""Scales: map values to positions on a chart, and choose round values for its axes. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A linear scale that maps `low` to `start` and `high` to `end`, in pixels."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The position of a value, to a tenth of a pixel. Values beyond the ends lie beyond the scale."""
        span = (self.high - self.low) or 1.0
        return round(self.start + (value - self.low) / span * (self.end - self.start), 1)

    def clamped(self, value: float) -> float:
        """The position of a value, or of the nearer end if the value lies beyond it."""
        return self.at(min(max(value, self.low), self.high))

    def ticks(self, most: int = 6) -> tuple[float, ...]:
        """About `most` round values between the ends, or fewer."""
        step = round_step((self.high - self.low) / most)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return tuple(round(i * step, 12) for i in range(first, last + 1))


def round_step(least: float) -> float:
    """The smallest number not below `least` that is 1, 2 or 5 times a power of ten."""
    if not least > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    return next((m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= least * (1 - 1e-9)), 10.0 * power)


_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)


def time_ticks(seconds: float, most: int = 8) -> tuple[float, ...]:
    """Round times from 0 to `seconds`."""
    step = next((size for size in _SECONDS if seconds / size <= most), None)
    size = float(step) if step else 86400.0 * math.ceil(seconds / 86400 / most)
    return tuple(i * size for i in range(math.floor(seconds / size) + 1))
