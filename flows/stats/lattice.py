"""Lattice: the distribution of a null process that has not been stopped yet, and the boundary cut from it.

The masses are P(statistic = value and no look so far rejected). A step convolves them with the distribution of what
is new; a look cuts the largest tail whose mass fits the budget. This is the recursion of Armitage, McPherson & Rowe
(1969) and Jennison & Turnbull (2000, ch. 19), on a lattice: exact where the statistic is an integer count (the exact
sequential tests of Kulldorff et al. 2011 and Silva 2018), a fine grid where it is real.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Masses = NDArray[np.float64]

_NEGLIGIBLE = 1e-16
"""Masses below are trimmed at both ends."""
_SMALLEST_BUDGET = 1e-10
"""A look with less to spend rejects nothing: such tails are below the arithmetic's noise."""
_DIRECT = 200_000
"""Products up to which a convolution is summed directly; beyond, by Fourier transform."""


CERTAIN: Masses = np.ones(1)
"""The probabilities of a step without chance."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Lattice:
    """Masses at origin, origin + pitch, origin + 2 pitch, ..."""

    origin: float = 0.0
    pitch: float = 1.0
    masses: Masses = field(default_factory=lambda: CERTAIN)
    spent: float = 0.0
    """Mass cut so far: the probability that an equal candidate would have been rejected by now."""

    def walk(self, steps: Sequence[tuple[float, Masses]]) -> Lattice:
        """The lattice after independent steps. The steps are combined first, because this lattice is the longest
        array."""
        if not steps:
            return self
        together = reduce(lambda lattice, step: lattice.step(*step), steps, Lattice())
        return self.step(together.origin, together.masses)

    def step(self, low: float, masses: Masses) -> Lattice:
        """The lattice after an independent step with these probabilities at low, low + pitch, ..."""
        grown = _convolve(self.masses, masses)
        kept = np.flatnonzero(grown > _NEGLIGIBLE)
        if not kept.size:
            return replace(self, origin=self.origin + low, masses=grown)
        first, last = int(kept[0]), int(kept[-1])
        return replace(self, origin=self.origin + low + first * self.pitch, masses=grown[first : last + 1])

    def coarsen(self) -> Lattice:
        """The lattice at twice the pitch; odd masses go half to each neighbour, which keeps the mean."""
        size = self.masses.size // 2 + 1
        wide = np.zeros(size)
        wide[: (self.masses.size + 1) // 2] = self.masses[::2]
        odd = self.masses[1::2] / 2
        wide[: odd.size] += odd
        wide[1 : odd.size + 1] += odd
        return replace(self, pitch=self.pitch * 2, masses=wide)

    def cut_counts(self, budget: float) -> tuple[Lattice, float | None]:
        """Cut the largest upper tail of whole values with a mass of at most budget - spent.

        Returns what is left and the smallest value that was cut: now or, if nothing more fits, earlier. None if nothing
        was ever cut.
        """
        room = budget - self.spent
        if room < _SMALLEST_BUDGET:
            return self, None
        tails = self.masses[::-1].cumsum()
        cells = int(tails.searchsorted(room, side="right"))
        if cells == 0 or cells == self.masses.size:
            beyond = self.origin + self.masses.size * self.pitch
            return self, beyond if cells == 0 and self.spent > 0 else None
        left = self.masses.size - cells
        spent = self.spent + float(tails[cells - 1])
        return replace(self, masses=self.masses[:left], spent=spent), self.origin + left * self.pitch

    def cut(self, budget: float) -> tuple[Lattice, float | None]:
        """Cut the upper tail with a mass of exactly budget - spent, inside a cell if necessary.

        Returns what is left and the value where the cut lies; None when the lattice is a point or nothing fits.
        """
        room = budget - self.spent
        if room < _SMALLEST_BUDGET or self.masses.size < 2:
            return self, None
        tails = self.masses[::-1].cumsum()
        cells = int(tails.searchsorted(room, side="right"))
        left = self.masses.size - cells
        if left == 0:
            return self, None
        inside = (room - (float(tails[cells - 1]) if cells else 0.0)) / float(self.masses[left - 1])
        masses = self.masses[:left].copy()
        masses[-1] *= 1 - inside
        edge = self.origin + (left - 0.5 - inside) * self.pitch
        return replace(self, masses=masses, spent=budget), edge


def _convolve(a: Masses, b: Masses) -> Masses:
    if a.size == 1:
        return np.asarray(a[0] * b)
    if a.size * b.size <= _DIRECT:
        return np.convolve(a, b)
    size = a.size + b.size - 1
    length = fft.next_fast_len(size, real=True)
    product: Masses = fft.irfft(fft.rfft(a, length) * fft.rfft(b, length), length)[:size]
    return np.maximum(product, 0.0)
