"""Log-rank: do events arrive alike in both arms, as soon and as often? Exact at every look.

A row is at risk of its event (a request of its label) from its arrival until the event. The arms were assigned at
random. So if events take as long and are missing as often in both arms, the new events of a look are a random draw of
the rows at risk in their stratum: one arm's number is hypergeometric, and strata and looks add up. That is the log-rank
test (Mantel 1966) with the exact distribution in place of the normal one (Thomas 1975).

Events count 1/sqrt(S), where S is the share of the stratum's rows that are still at risk. Events that never arrive show
late, when few rows are at risk: a weight of 1/S is best for them. Delays show from the first event on: a weight of 1 is
best for them. The root, between both, keeps nine tenths of the power for either (Harrington & Fleming 1982 weigh by
powers of S so).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from sluicegate.flows.stats.counts import Draw, step
from sluicegate.flows.stats.lattice import Lattice, Masses
from sluicegate.flows.stats.spending import Budget

_UNIT = 2
"""Weights are halves, so that sums of them lie on a lattice of whole numbers."""
_MOST = 16


@dataclass(frozen=True, kw_only=True, order=True)
class Events:
    """New events of one stratum among its rows at risk, `mine` of them in the arm in question."""

    draw: Draw
    rows: int
    """All rows of the stratum, at risk or not."""

    @property
    def weight(self) -> int:
        """2/sqrt(S), rounded; from 2 to 16."""
        at_risk = max(self.draw.size + self.draw.others, 1)
        return min(max(round(_UNIT * math.sqrt(self.rows / at_risk)), _UNIT), _MOST)

    @property
    def mirrored(self) -> Events:
        """The same events, as those of the other arm."""
        draw = self.draw
        other = Draw(size=draw.others, others=draw.size, events=draw.events, mine=draw.events - draw.mine)
        return Events(draw=other, rows=self.rows)


@dataclass(frozen=True, kw_only=True)
class LogRankTest:
    """Whether one arm has more events than chance gives it. One side; what was rejected stays rejected."""

    budget: Budget
    lattice: Lattice = field(default_factory=Lattice)
    observed: int = 0
    information: float = 0.0
    rejected: bool = False

    def look(self, new: Iterable[Events], information: float) -> LogRankTest:
        """The test after these events; without more information nothing is spent and nothing is rejected."""
        events = sorted(new)
        lattice = self.lattice.walk([_step(each) for each in events])
        observed = self.observed + sum(each.weight * each.draw.mine for each in events)
        if information <= self.information:
            return replace(self, lattice=lattice, observed=observed)
        cut, critical = lattice.cut_counts(self.budget.spent(information))
        is_beyond = critical is not None and observed >= critical - 0.5
        return replace(
            self, lattice=cut, observed=observed, information=information, rejected=self.rejected or is_beyond
        )


def _step(events: Events) -> tuple[int, Masses]:
    """The smallest sum that the arm may have, and the probabilities from there on, spaced by the weight."""
    low, masses = step(events.draw)
    spaced = np.zeros(events.weight * (masses.size - 1) + 1)
    spaced[:: events.weight] = masses
    return events.weight * low, spaced
