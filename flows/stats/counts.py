"""0/1 outcomes: given how many events a stratum had, how many of them fell on one arm.

If the arms are alike, the events of a stratum are a random draw: the count in one arm is hypergeometric, whatever the
rate, the weight or the hour (Fisher 1935). If the arm's odds of an event are `odds` times the other arm's, it is
Fisher's noncentral hypergeometric (Cornfield 1956). Strata are independent, so their counts convolve.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sluicegate.flows.stats.lattice import CERTAIN, Lattice, Masses

_WINDOW = 12.0
"""Standard deviations kept on each side of the mean."""


@dataclass(frozen=True, kw_only=True, order=True)
class Draw:
    """One stratum's new rows as a draw: `mine` of `events` fell on the arm that has `size` of all rows."""

    size: int
    others: int
    """Rows of the other arm."""
    events: int
    mine: int
    odds: float = 1.0
    """The null: the arm's odds of an event are at most this many times the other arm's."""

    @property
    def is_informative(self) -> bool:
        """Whether chance had a say: both arms have rows, and there are events and non-events."""
        return self.size > 0 and self.others > 0 and 0 < self.events < self.size + self.others


def spread(lattice: Lattice, draws: Iterable[Draw]) -> Lattice:
    """The lattice of the arm's event count after these draws; a draw without information only shifts it."""
    return lattice.walk([step(draw) for draw in sorted(draws)])


def step(draw: Draw) -> tuple[int, Masses]:
    """The smallest number of a draw's events that the arm may have, and the probabilities from there on."""
    if not draw.is_informative:
        return draw.mine, CERTAIN
    return hypergeometric(draw.size, draw.others, draw.events, draw.odds)


def expected(draws: Iterable[Draw]) -> float:
    """The expected number of the arm's events under the null."""
    return math.fsum(map(_expected, draws))


def _expected(draw: Draw) -> float:
    if not draw.is_informative:
        return float(draw.mine)
    if draw.odds == 1:
        return draw.events * draw.size / (draw.size + draw.others)
    low, masses = hypergeometric(draw.size, draw.others, draw.events, draw.odds)
    return low + float(masses @ np.arange(masses.size))


def divergence(draws: Iterable[Draw]) -> float:
    """What the events can say against the null, in nats: the log likelihood ratio that an equal arm's share of them
    yields on average (Kullback & Leibler 1951). It does not depend on which arm the events fell on.

    Each event falls on an equal arm with its share of the rows; (n - events) / (n - 1) corrects for draws without
    replacement, as in the variance of the hypergeometric distribution.
    """
    return math.fsum(_divergence(draw) for draw in draws if draw.is_informative)


def _divergence(draw: Draw) -> float:
    n = draw.size + draw.others
    equal = draw.size / n
    null = draw.odds * draw.size / (draw.odds * draw.size + draw.others)
    of_one = equal * math.log(equal / null) + (1 - equal) * math.log((1 - equal) / (1 - null))
    return draw.events * (n - draw.events) / (n - 1) * of_one


@lru_cache(maxsize=256)
def hypergeometric(size: int, others: int, events: int, odds: float = 1.0) -> tuple[int, Masses]:
    """Smallest count kept and the probabilities from there: events of an arm of `size` rows among `events` of all.

    Fisher's noncentral hypergeometric by the ratio of neighbouring probabilities (Liao & Rosen 2001, section 2:
    r(k + 1) = odds (events - k)(size - k) / ((k + 1)(others - events + k + 1))), within 12 standard deviations and 2
    of the mode, renormalised.
    """
    bottom, top = max(0, events - others), min(size, events)
    mode, sd = _mode(size, others, events, odds)
    reach = math.ceil(_WINDOW * sd + 2)
    low, high = max(bottom, math.floor(mode) - reach), min(top, math.ceil(mode) + reach)
    k = np.arange(low, high, dtype=np.float64)
    ratios = (events - k) * (size - k) / ((k + 1) * (others - events + k + 1)) * odds
    logs = np.concatenate(([0.0], np.cumsum(np.log(ratios))))
    masses = np.exp(logs - logs.max())
    masses /= masses.sum()
    masses.flags.writeable = False
    return low, masses


def _mode(size: int, others: int, events: int, odds: float) -> tuple[float, float]:
    """The mode by the quadratic of Cornfield 1956, and the standard deviation of the normal that touches it.

    The ratio of neighbouring probabilities is 1 at x (others - events + x) = odds (size - x) (events - x). The second
    derivative of the log probability there, by Stirling's formula, is minus the sum of the inverses of the four cells.
    """
    a = 1 - odds
    b = others - events + odds * (size + events)
    c = -odds * size * events
    x = -2 * c / (b + math.sqrt(b * b - 4 * a * c))
    cells = (x, size - x, events - x, others - events + x)
    return x, 1 / math.sqrt(sum(1 / max(cell, 0.5) for cell in cells))
