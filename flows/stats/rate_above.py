"""Rate above: is the rate of a 0/1 metric shown to be above a fixed share, whatever the number of looks?

Betting against "every row is 1 with probability at most c, given what came before": after n rows, x of them 1, the
capital is the mean of likelihood ratios of rates above c,

    E = mean_j (p_j / c)^x ((1 - p_j) / (1 - c))^(n - x),     c < p_j < 1

a nonnegative supermartingale that starts at 1, because each factor rises with a row's value and has mean 1 at c. So by
Ville (1939) it reaches 1 / alpha with probability at most alpha, drift of the rate included. Exact for every n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

_ODDS = (1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)
"""The odds that each bet assumes, in multiples of the bound's odds: a slight excess is found late, a large one soon."""


@dataclass(frozen=True, kw_only=True)
class RateAboveTest:
    """The state of the test after some looks; `shown_at` is the first look that showed the rate above the bound."""

    bound: float
    """The share, in (0, 1), that may be reached."""
    alpha: float
    """Chance that a rate of at most the bound is ever found to be above it."""
    n: int = 0
    ones: int = 0
    looks: int = 0
    shown_at: int | None = None

    def look(self, n: int, ones: int) -> RateAboveTest:
        """The state after a look at n rows in all, `ones` of them 1."""
        after = replace(self, n=n, ones=ones, looks=self.looks + 1)
        if after.shown_at is None and 0 <= ones <= n and after.log_capital >= -math.log(self.alpha):
            return replace(after, shown_at=after.looks)
        return after

    @property
    def log_capital(self) -> float:
        """Logarithm of the capital E; 0 before the first row."""
        zeros, odds = self.n - self.ones, self.bound / (1 - self.bound)
        logs = []
        for times in _ODDS:
            rate = times * odds / (1 + times * odds)
            won = self.ones * math.log(rate / self.bound)
            logs.append(won + zeros * (math.log1p(-rate) - math.log1p(-self.bound)))
        most = max(logs)
        return most + math.log(math.fsum(math.exp(each - most) for each in logs) / len(_ODDS))

    @property
    def e_value(self) -> float:
        """The capital, kept below the largest float."""
        return math.exp(min(self.log_capital, 700.0))
