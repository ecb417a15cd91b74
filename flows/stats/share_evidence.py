"""Did each arm get the share that chance should give it? A p-value that is valid at every look, from counts alone.

The evidence is a mixture likelihood ratio against the share asked for: a beta-binomial whose prior is centred there
(Lindon & Malek 2022, "Anytime-valid inference for multinomial count data", the case of two arms). Stretches of
constant share multiply. It assumes that each request, or unit, is assigned by itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

CONCENTRATION = 1_000.0
"""Concentration of the prior: most power for shares that are off by about sqrt(share (1 - share) / 1,000)."""


def share_p_value(stretches: Iterable[tuple[float, int, int]]) -> float:
    """The p-value of "shares follow the weights", from (share, candidate's count, stable's count) of each stretch."""
    evidence = sum(_log_ratio(share, candidate, stable) for share, candidate, stable in stretches if 0 < share < 1)
    return math.exp(-max(evidence, 0.0))


def _log_ratio(share: float, candidate: int, stable: int) -> float:
    a, b = CONCENTRATION * share, CONCENTRATION * (1 - share)
    null = candidate * math.log(share) + stable * math.log1p(-share)
    return _log_beta(a + candidate, b + stable) - _log_beta(a, b) - null


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
