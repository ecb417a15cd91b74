"""Rate below: is the rate of a 0/1 metric shown to be below a fixed share, whatever the number of looks?

Betting against "every row is 1 with probability at least c, given what came before": after n rows, x of them 1, the
capital is

    E = sum_j w_j (1 + b_j c)^(n - x) (1 - b_j (1 - c))^x,     0 < b_j < 1 / (1 - c)

a nonnegative supermartingale that starts at 1 (Waudby-Smith & Ramdas 2024, section 4, for binary values), so that by
Ville (1939) it reaches 1 / beta with probability at most beta, drift of the rate included. Exact for every n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

_STAKES = ((0.98, 0.6), (0.8, 0.1), (0.5, 0.1), (0.25, 0.1), (0.1, 0.1))
"""Bets as shares of the largest bet that cannot ruin the gambler, and their weights: most of the money is on the bet
that wins soonest when there are no ones at all."""


@dataclass(frozen=True, kw_only=True)
class RateBelowTest:
    """The state of the test after some looks; `shown_at` is the first look that showed the rate below the bound."""

    bound: float
    """The share, in (0, 1), that must be shown not to be reached."""
    beta: float
    """Chance that a rate of at least the bound is ever found to be below it."""
    n: int = 0
    ones: int = 0
    looks: int = 0
    shown_at: int | None = None

    def look(self, n: int, ones: int) -> RateBelowTest:
        """The state after a look at n rows in all, `ones` of them 1."""
        after = replace(self, n=n, ones=ones, looks=self.looks + 1)
        if after.shown_at is None and 0 <= ones <= n and after.log_capital >= -math.log(self.beta):
            return replace(after, shown_at=after.looks)
        return after

    @property
    def log_capital(self) -> float:
        """Logarithm of the capital E; 0 before the first row."""
        zeros = self.n - self.ones
        logs = []
        for stake, weight in _STAKES:
            bet = stake / (1 - self.bound)
            won = zeros * math.log1p(bet * self.bound) + self.ones * math.log1p(-bet * (1 - self.bound))
            logs.append(math.log(weight) + won)
        most = max(logs)
        return most + math.log(math.fsum(math.exp(each - most) for each in logs))
