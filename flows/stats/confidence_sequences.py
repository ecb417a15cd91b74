"""Confidence sequences: intervals that hold at every look at once, so they may be read as often as one likes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from scipy.special import betaln, xlog1py, xlogy

from sluicegate.registry.words.tally import Tally

_STEPS = 60


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate and the ends of its interval."""

    value: float
    low: float
    high: float


def mean_interval(sums: Tally, alpha: float, planned: float) -> Interval | None:
    """The interval of the mean of independent values; None for fewer than two.

    Normal mixture, asymptotic (Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2024, theorem 2.2), with the variance as
    estimated and the mixture made narrowest at `planned` values (their eq. 24).
    """
    n = sums.n
    if n < 2:
        return None
    mean = sums.total / n
    variance = max(sums.squares / n - mean * mean, 0.0) * n / (n - 1)
    log = -2 * math.log(alpha)
    rho2 = (log + math.log(log + 1)) / max(planned, 1.0)
    grown = n * rho2 + 1
    half = math.sqrt(variance * 2 * grown / (n * n * rho2) * math.log(math.sqrt(grown) / alpha))
    return Interval(value=mean, low=mean - half, high=mean + half)


def rate_interval(ones: int, n: int, alpha: float) -> Interval | None:
    """The interval of the rate of ones; None without any row. Exact at every n.

    It contains the rates p whose likelihood is at least alpha times the beta(1/2, 1/2) mixture's; the mixture's
    likelihood ratio is a martingale under p (Robbins 1970; Ville 1939).
    """
    if n <= 0:
        return None
    rate = ones / n
    mixed = betaln(ones + 0.5, n - ones + 0.5) - betaln(0.5, 0.5) + math.log(alpha)

    def is_in(p: float) -> bool:
        return bool(xlogy(ones, p) + xlog1py(n - ones, -p) >= mixed)

    return Interval(value=rate, low=_end(is_in, rate, 0.0), high=_end(is_in, rate, 1.0))


def _end(is_in: Callable[[float], bool], inside: float, outside: float) -> float:
    """The end of the interval, between a rate inside it and a limit."""
    if is_in(outside):
        return outside
    for _ in range(_STEPS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if is_in(middle) else (inside, middle)
    return outside
