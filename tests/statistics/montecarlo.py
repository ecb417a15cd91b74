"""What a number of simulated runs proves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from scipy.stats import beta


@dataclass(frozen=True)
class Share:
    """How often something happened in simulated runs."""

    hits: int
    runs: int

    @property
    def observed(self) -> float:
        return self.hits / self.runs

    def __str__(self) -> str:
        return f"{self.observed:.4f} of {self.runs} runs [{self.at_least:.4f}, {self.at_most:.4f}]"

    @property
    def at_least(self) -> float:
        """The 99 % lower bound of the true share (Clopper & Pearson 1934)."""
        return float(beta.ppf(0.01, self.hits, self.runs - self.hits + 1)) if self.hits else 0.0

    @property
    def at_most(self) -> float:
        """The 99 % upper bound of the true share."""
        return float(beta.ppf(0.99, self.hits + 1, self.runs - self.hits)) if self.hits < self.runs else 1.0


def share(run: Callable[[Generator], bool], *, runs: int, seed: int) -> Share:
    """How often `run` answers yes; each run has a generator of its own."""
    return Share(sum(run(np.random.default_rng((seed, i))) for i in range(runs)), runs)
