"""A gate's sums by unit, where units return: what telemetry tells of them, as changes of cohorts. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from sluicegate.flows.stats.cohorts import Change, Cohort
from sluicegate.flows.stats.sample_ratio import Arrivals
from sluicegate.registry.rollout.rollout import FULL
from sluicegate.registry.words.metric import Arm, Stratum, TallyRow
from sluicegate.registry.words.tally import UnitSums

Side = tuple[Stratum, int]
"""A stratum and the candidate's weight in it, in basis points."""
Cell = tuple[str, Side, Arm]
Known = Mapping[Cell, UnitSums]
"""Sums so far, by metric, stratum, weight and arm."""


def cell(row: TallyRow) -> Cell:
    """What a row adds to."""
    return row.metric, (row.stratum, row.weight), row.arm


def tells_units(rows: Iterable[TallyRow]) -> bool:
    """Whether a look tells of units."""
    return any(row.units is not None for row in rows)


def is_possible(units: UnitSums) -> bool:
    """Whether new sums can be true: finite, and no fewer units or rows than before."""
    return all(map(math.isfinite, units)) and units.size >= 0 and units.n >= 0


def plus(known: Known, rows: Iterable[TallyRow]) -> Known:
    """The sums with what these rows add."""
    added = dict(known)
    for row in rows:
        if row.units is not None:
            added[cell(row)] = added.get(cell(row), UnitSums()) + row.units
    return added


def minus(now: UnitSums | None, before: UnitSums | None) -> UnitSums | None:
    """What is new; None where nothing is."""
    new = now - (before or UnitSums()) if now is not None else None
    return new if new != UnitSums() else None


def changes(
    before: Known, now: Known, rows: Sequence[TallyRow], stable: str, candidate: str
) -> tuple[Change, ...]:  # fmt: skip
    """The cohorts that these rows changed, in order: stable's units of one metric, the candidate's of another."""
    arms = {(stable, Arm.STABLE), (candidate, Arm.CANDIDATE)}
    sides = {(row.stratum, row.weight) for row in rows if row.units is not None and (row.metric, row.arm) in arms}

    def cohort(known: Known, side: Side) -> Cohort:
        return Cohort(
            stable=known.get((stable, side, Arm.STABLE), UnitSums()),
            candidate=known.get((candidate, side, Arm.CANDIDATE), UnitSums()),
        )

    return tuple(Change(before=cohort(before, side), now=cohort(now, side)) for side in sorted(sides))


def arrivals_of_units(rows: Iterable[TallyRow]) -> tuple[Arrivals, ...]:
    """Units that are new to the rollout: of them the candidate gets the share of its weight."""
    return tuple(
        Arrivals(
            share=row.weight / FULL,
            candidate=row.units.size if row.arm is Arm.CANDIDATE else 0,
            stable=row.units.size if row.arm is Arm.STABLE else 0,
        )
        for row in rows
        if row.units is not None and row.stratum.bucket >= 0
    )
