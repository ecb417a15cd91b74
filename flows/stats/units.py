"""Returning units and ratio metrics: the unit that is randomised is the unit that is analysed.

A metric is a ratio: sum of values over sum of rows. In every stratum each row is linearised, r = x - p n with the
stratum's pooled ratio p (delta method; Deng, Knoblich & Lu 2018, section 3.1), and a unit's influence on the score adds
over its rows and strata. The variance is that of whole units, so rows of one unit may depend on each other as they
like; dependence over time makes the boundary conservative, never wrong (Slepian 1962).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from sluicegate.flows.stats.scores import Score
from sluicegate.flows.stats.sequential import ScoreTest
from sluicegate.flows.stats.spending import Budget

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class UnitRows:
    """Rows new since the last look, one entry for each (unit, stratum, arm) that got any."""

    unit: Integers
    """Units counted from 0, in order of their first row."""
    stratum: Integers
    candidate: NDArray[np.bool_]
    n: Floats
    """Rows."""
    total: Floats
    """Sum of values."""


def _none() -> Floats:
    return np.zeros(0)


@dataclass(frozen=True, kw_only=True, eq=False)
class UnitTest:
    """Whether the candidate's ratio is above the stable one's, in the direction that `against` asks for."""

    test: ScoreTest
    influence: Floats = field(default_factory=_none)
    """What each unit adds to the score."""
    spread: Floats = field(default_factory=_none)
    """Each unit's part in the randomisation variance, as its root."""
    skew: Floats = field(default_factory=_none)
    """Each unit's part in the third cumulant, as its cube root."""

    @classmethod
    def begin(cls, budget: Budget) -> UnitTest:
        return cls(test=ScoreTest(budget=budget))

    @property
    def rejected(self) -> bool:
        return self.test.rejected

    @property
    def reach(self) -> float | None:
        return self.test.reach

    @property
    def spent(self) -> float:
        return self.test.spent

    def look(self, rows: UnitRows, information: float, *, against: int, factor: float = 1.0) -> UnitTest:
        """The test after these rows. `factor`: the null's ratio of the candidate's mean to the stable one's."""
        values = np.where(rows.candidate, rows.total, rows.total * factor) * against
        share, rest = _linearised(rows, values)
        grown = replace(
            self,
            influence=_added(self.influence, rows.unit, np.where(rows.candidate, 1 - share, -share) * rest),
            spread=_added(self.spread, rows.unit, np.sqrt(share * (1 - share)) * rest),
            skew=_added(self.skew, rows.unit, np.cbrt(share * (1 - share) * (1 - 2 * share)) * rest),
        )
        return replace(grown, test=self.test.look(grown.score() - self.test.score, information))

    def score(self) -> Score:
        """The score of everything so far."""
        return Score(
            value=float(self.influence.sum()),
            randomisation=float(self.spread @ self.spread),
            welch=float(self.influence @ self.influence),
            third=float((self.skew**3).sum()),
        )


def _linearised(rows: UnitRows, values: Floats) -> tuple[Floats, Floats]:
    """For each row, the candidate's share of its stratum's rows, and r; 0 in a stratum with an empty arm."""
    _, stratum = np.unique(rows.stratum, return_inverse=True)
    n = np.bincount(stratum, rows.n)
    of_candidate = np.bincount(stratum, rows.n * rows.candidate)
    units = np.bincount(stratum)
    ratio = np.bincount(stratum, values) / np.maximum(n, 1)
    share = of_candidate / np.maximum(n, 1)
    informative = (of_candidate > 0) & (of_candidate < n)
    unbiased = np.where(informative, np.sqrt(units / np.maximum(units - 1, 1)), 0.0)
    rest = (values - ratio[stratum] * rows.n) * unbiased[stratum]
    return share[stratum], rest


def _added(sums: Floats, at: Integers, values: Floats) -> Floats:
    size = max(sums.size, int(at.max()) + 1 if at.size else 0)
    return np.concatenate((sums, np.zeros(size - sums.size))) + np.bincount(at, values, minlength=size)
