"""Strata that widen: with little traffic, time buckets of one weight are compared together. Pure.

If each of n rows is the candidate's with probability w, a stratum yields the information n1 n0 / n, on average
w (1 - w) (n - 1): of two rows half is lost, of twenty a twentieth, at any weight. So a bucket with fewer rows waits for
its neighbours. The same probability decided about all their rows, so they may be compared whatever changed from hour to
hour. How far a stratum widens depends on how many rows arrived and for which build, never on their values. Rows that
wait are not counted as collected.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from sluicegate.flows.gate.cells import Cell, Side, Tallies
from sluicegate.registry.words.metric import Arm
from sluicegate.registry.words.tally import Tally
from sluicegate.registry.words.units import FULL

LEAST = 20
"""The number of rows, or units, from which a stratum is compared by itself."""
Sizes = Mapping[Side, tuple[int, int]]
"""How many rows, or units, of stable and candidate a side has."""


def widened(sizes: Sizes) -> dict[Side, Side]:
    """The stratum in which each side is compared, named after its first side. Sides that wait are left out."""
    strata: list[list[Side]] = []
    beside: defaultdict[tuple[int, int], list[Side]] = defaultdict(list)
    for side in sorted(sizes):
        (stratum, weight), neighbours, rows = side, [side], sizes[side]
        if sum(rows) < LEAST and _may_widen(side):
            neighbours = beside[stratum.epoch, weight]
            neighbours.append(side)
            rows = sum(sizes[each][0] for each in neighbours), sum(sizes[each][1] for each in neighbours)
        if all(rows) and (sum(rows) >= LEAST or not _may_widen(side)):
            strata.append(list(neighbours))
            neighbours.clear()
    return {side: stratum[0] for stratum in strata for side in stratum}


def _may_widen(side: Side) -> bool:
    """Whether the neighbours have the same probability of the candidate: not if the weight is unknown, nor for units
    that were met before."""
    stratum, weight = side
    return 0 < weight < FULL and stratum.bucket >= 0


def sizes_of(rows: Iterable[tuple[Side, Arm, int]]) -> dict[Side, tuple[int, int]]:
    """How many rows, or units, each side has."""
    sizes: dict[Side, tuple[int, int]] = {}
    for side, arm, n in rows:
        stable, candidate = sizes.get(side, (0, 0))
        sizes[side] = (stable, candidate + n) if arm is Arm.CANDIDATE else (stable + n, candidate)
    return sizes


def split_waiting(tallies: Tallies, metric: str) -> tuple[Tallies, Tallies]:
    """The tallies that can be compared now, each in its widened stratum, and those that still wait."""
    sizes = sizes_of((side, arm, tally.n) for (name, side, arm), tally in tallies.items() if name == metric)
    strata, ready = widened(sizes), dict[Cell, Tally]()
    for name, side, arm in sorted(cell for cell in tallies if cell[1] in strata):
        place = (name, strata[side], arm)
        ready[place] = ready.get(place, Tally()) + tallies[name, side, arm]
    return ready, {cell: tally for cell, tally in tallies.items() if cell[1] not in strata}
