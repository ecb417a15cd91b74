"""Covariate adjustment: judge y - f(x) instead of y, with f fitted on earlier rows only.

Given f, labels are still the only randomness inside a stratum, so every test stays as valid as it was, whatever f is;
rows needed shrink by the factor 1 - R^2 (CUPED: Deng et al. 2013; with a model as f: MLRATE, Guo et al. 2021). The
stable model's shadow score on the same request is the best covariate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Adjustment:
    """f(x) = slope (x - centre): subtracting it leaves the mean of the earlier rows where it was."""

    slope: float = 0.0
    centre: float = 0.0
    explained: float = 0.0
    """R^2 on the rows it was fitted on."""

    def apply(self, y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
        """y without what x explains; where x is not finite, y as it is."""
        return np.where(np.isfinite(x), y - self.slope * (x - self.centre), y)


def fit(y: NDArray[np.float64], x: NDArray[np.float64]) -> Adjustment:
    """Least squares on earlier rows. A constant or missing covariate explains nothing."""
    known = np.isfinite(x) & np.isfinite(y)
    y, x = y[known], x[known]
    if y.size < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Adjustment()
    covariance = np.cov(x, y)
    return Adjustment(
        slope=float(covariance[0, 1] / covariance[0, 0]),
        centre=float(x.mean()),
        explained=float(covariance[0, 1] ** 2 / (covariance[0, 0] * covariance[1, 1])),
    )
