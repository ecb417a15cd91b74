"""Alpha spending: how much type-I error a test may have used by a given information time.

Information time t is the information collected divided by the information planned (Lan & DeMets 1983). It may be any
quantity that is chosen without looking at which arm did better; the guarantee does not depend on the plan being right.
For a margin of 0/1 values it is the divergence of the events so far (`counts.divergence`), which needs no plan.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

Shape = Callable[[float, float], float]
"""Cumulative alpha spent at information time t in [0, 1], given the whole alpha."""

_NORMAL = NormalDist()
_FIRST = 0.001
"""Information time from which `early_and_late` spends evenly per e-fold."""
_FIRST_OF_MARGIN = 0.03
"""The same for `evenly`."""
_HALF_SPENT, _SPREAD = 1.75, 0.6
"""Divergence in nats by which `around_need` has spent half of alpha, and the standard deviation of its logarithm."""
_ALL_SPENT = 20.0
"""Divergence in nats by which `around_need` has spent all but a 40,000th of alpha."""


def early_and_late(t: float, alpha: float) -> float:
    """Spend 80 % evenly per e-fold of information and 20 % as t squared.

    The first part keeps the test close to the fastest at every effect size; the second rewards a plan that is right.
    Lan & DeMets 1983 allow any increasing function with value alpha at t = 1.
    """
    return alpha * (0.8 * math.log1p(t / _FIRST) / math.log1p(1 / _FIRST) + 0.2 * t * t)


def evenly(t: float, alpha: float) -> float:
    """Spend evenly per e-fold of information, from 3 % of the plan on.

    For ruling out a margin. There the planned case is known, a candidate as good as stable, so little is kept for
    effects that would show in a thousandth of the plan: `early_and_late` needs a tenth more at every effect size.
    """
    return alpha * math.log1p(t / _FIRST_OF_MARGIN) / math.log1p(1 / _FIRST_OF_MARGIN)


def around_need(t: float, alpha: float) -> float:
    """Spend most where an equal candidate is expected to pass: as a lognormal distribution function of the divergence.

    For ruling out a margin. A test that looks once, at level .05, passes an equal candidate in half of the cases once
    its divergence is 1.645^2 / 2 = 1.35 nats.
    """
    divergence = t * _ALL_SPENT
    return alpha * _NORMAL.cdf(math.log(divergence / _HALF_SPENT) / _SPREAD) if divergence > 0 else 0.0


def obrien_fleming(t: float, alpha: float) -> float:
    """One-sided O'Brien-Fleming type spending, 2 - 2 Phi(z_(1 - alpha/2) / sqrt t) (Lan & DeMets 1983, alpha*_1)."""
    return 2 - 2 * _NORMAL.cdf(_NORMAL.inv_cdf(1 - alpha / 2) / math.sqrt(t)) if t > 0 else 0.0


def pocock(t: float, alpha: float) -> float:
    """Pocock type spending, alpha log(1 + (e - 1) t) (Lan & DeMets 1983, alpha*_2)."""
    return alpha * math.log1p((math.e - 1) * t)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The alpha of one test, and how it may be spent over information.

    Up to the planned information the share 1 - reserve follows `shape`. Each doubling beyond it releases half of what
    is left of the reserve: alpha (1 - reserve + reserve (1 - 1/t)).
    """

    alpha: float
    information: float
    """The planned information, in the unit of the argument of `spent`. Above 0."""
    reserve: float = 0.0
    """The share of alpha kept for looks beyond the plan, in [0, 1)."""
    shape: Shape = early_and_late
    by_divergence: bool = False
    """Whether time is the divergence of the events in nats, instead of information."""

    @classmethod
    def of_events(cls, alpha: float) -> Budget:
        """The budget of a margin of 0/1 values."""
        return cls(alpha=alpha, information=_ALL_SPENT, shape=around_need, by_divergence=True)

    def time(self, information: float) -> float:
        """Information time: the share of the planned information that was collected; may exceed 1."""
        return max(information, 0.0) / self.information

    def spent(self, information: float) -> float:
        """The cumulative alpha that may be spent by now; never above alpha."""
        t = self.time(information)
        planned = self.shape(min(t, 1.0), self.alpha * (1 - self.reserve))
        return planned + self.alpha * self.reserve * max(0.0, 1 - 1 / max(t, 1.0))
