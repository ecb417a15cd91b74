"""Paired shadow: stable and candidate answered the same request, so the request is its own control.

0/1 values: only discordant pairs inform. If neither is worse, "only the candidate was wrong" is a fair coin among them
(McNemar 1947), which the lattice tests exactly. Real values: bets on their differences (`bets`). How often the two
disagree at all is tested against a cap the plan declares.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sluicegate.flows.stats.lattice import Lattice
from sluicegate.flows.stats.sample_ratio import binomial
from sluicegate.flows.stats.spending import Budget


@dataclass(frozen=True, kw_only=True)
class CoinTest:
    """Whether heads come up more often than `share` of all throws. Exact.

    Harm: heads are pairs where only the harmful arm had the event, share 1/2. A margin m on the ratio of the two:
    share (1 + m) / (2 + m) for the other side. Disagreement against a cap: heads are disagreements, share the cap.
    """

    budget: Budget
    share: float = 0.5
    lattice: Lattice = field(default_factory=Lattice)
    heads: int = 0
    throws: int = 0
    information: float = 0.0
    lacking: float | None = None
    """How many more heads the last look needed to reject; not above 0: it rejected. None: it could not reject."""
    rejected: bool = False

    @property
    def spent(self) -> float:
        return self.lattice.spent

    def look(self, heads: int, throws: int, information: float) -> CoinTest:
        """The test after new throws. `information` so far, in the unit of the budget's."""
        lattice = self.lattice.step(*binomial(throws, self.share)) if throws else self.lattice
        test = replace(self, lattice=lattice, heads=self.heads + heads, throws=self.throws + throws)
        if information <= self.information:
            return test
        cut, critical = lattice.cut_counts(self.budget.spent(information))
        lacking = None if critical is None else critical - 0.5 - test.heads
        is_beyond = lacking is not None and lacking < 0
        return replace(test, lattice=cut, information=information, lacking=lacking, rejected=self.rejected or is_beyond)
