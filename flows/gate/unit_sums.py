"""A gate's sums by unit, where units return: what telemetry tells of them, as changes of cohorts. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from sluicegate.flows.gate.cells import Cell, Side, cell
from sluicegate.flows.stats.cohorts import Change, Cohort
from sluicegate.registry.words.metric import Arm, TallyRow
from sluicegate.registry.words.tally import UnitSums

UnitTallies = Mapping[Cell, UnitSums]
"""Sums so far."""


def has_units(rows: Iterable[TallyRow]) -> bool:
    """Whether a look tells of units."""
    return any(row.units is not None for row in rows)


def have_returned(units: UnitTallies) -> bool:
    """Whether some unit has more rows than one."""
    return any(sums.nn > sums.n for sums in units.values())


def is_possible(units: UnitSums) -> bool:
    """Whether new sums can be true: finite, and no fewer units or rows than before."""
    return all(map(math.isfinite, units)) and units.size >= 0 and units.n >= 0


def with_units(units: UnitTallies, rows: Iterable[TallyRow]) -> UnitTallies:
    """The sums with what these rows add."""
    added = dict(units)
    for row in rows:
        if row.units is not None:
            added[cell(row)] = added.get(cell(row), UnitSums()) + row.units
    return added


def units_beyond(units: UnitTallies, row: TallyRow) -> UnitSums | None:
    """What a cumulative row holds beyond these sums; None where nothing is new."""
    new = row.units - units.get(cell(row), UnitSums()) if row.units is not None else None
    return new if new != UnitSums() else None


def changes(
    before: UnitTallies, now: UnitTallies, rows: Sequence[TallyRow], stable: str, candidate: str
) -> tuple[Change, ...]:  # fmt: skip
    """The cohorts that these rows changed, in order: stable's units of one metric, the candidate's of another."""
    arms = {(stable, Arm.STABLE), (candidate, Arm.CANDIDATE)}
    sides = {(row.stratum, row.weight) for row in rows if row.units is not None and (row.metric, row.arm) in arms}

    def cohort(units: UnitTallies, side: Side) -> Cohort:
        return Cohort(
            stable=units.get((stable, side, Arm.STABLE), UnitSums()),
            candidate=units.get((candidate, side, Arm.CANDIDATE), UnitSums()),
        )

    return tuple(Change(before=cohort(before, side), now=cohort(now, side)) for side in sorted(sides))


def arrived_units(row: TallyRow) -> int:
    """Units that are new to the rollout: of them the candidate gets the share of its weight."""
    return row.units.size if row.units is not None and row.stratum.bucket >= 0 else 0
