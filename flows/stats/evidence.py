"""E-values against "the candidate is not worse", for people and dashboards; decisions rest on the tests.

If the candidate is not worse, an e-value is at most 1 on average, whenever one stops; 20 is as rare as p = .05.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from sluicegate.flows.stats.counts import Draw

_TILTS = tuple(math.log(odds) for odds in (1.05, 1.1, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0))


@dataclass(frozen=True, kw_only=True)
class CountEvidence:
    """log mean_d exp(d x - e log(1 + pi (exp d - 1))), x of e events in an arm with the share pi of the rows.

    Each term is an e-variable for a binomial count (Lindon & Malek 2022) and so for a hypergeometric one, whose moment
    generating function is smaller (Hoeffding 1963, theorem 4).
    """

    logs: tuple[float, ...] = (0.0,) * len(_TILTS)

    def add(self, draws: Iterable[Draw]) -> CountEvidence:
        logs = list(self.logs)
        for draw in draws:
            if draw.is_informative:
                share = draw.size / (draw.size + draw.others)
                for i, tilt in enumerate(_TILTS):
                    logs[i] += tilt * draw.mine - draw.events * math.log1p(share * math.expm1(tilt))
        return replace(self, logs=tuple(logs))

    @property
    def value(self) -> float:
        top = max(self.logs)
        return _exp(top + math.log(sum(math.exp(log - top) for log in self.logs) / len(self.logs)))


def score_e_value(value: float, variance: float, tuned_to: float) -> float:
    """One-sided normal mixture e-value of a score (Howard et al. 2021, prop. 6), sharpest at variance `tuned_to`.

    2 sqrt(r / (V + r)) exp(S^2 / (2 (V + r))) Phi(S / sqrt(V + r)), r the mixture's precision.
    """
    if variance <= 0 or tuned_to <= 0:
        return 1.0
    precision = tuned_to / 6
    both = variance + precision
    tail = 0.5 * math.erfc(-value / math.sqrt(2 * both))
    if tail <= 0:
        return 0.0
    return _exp(math.log(2 * tail) + 0.5 * math.log(precision / both) + value**2 / (2 * both))


def _exp(log: float) -> float:
    """exp, kept below the largest float."""
    return math.exp(min(log, 700.0))
