"""A gate's sums by unit, if units return: from telemetry's rows to changes of cohorts. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sluicegate.flows.gate.cells import Cell, Side, cell
from sluicegate.flows.gate.strata import sizes_of, widened
from sluicegate.flows.stats.cohorts import Change, Cohort
from sluicegate.registry.words.metric import Arm, TallyRow
from sluicegate.registry.words.tally import UnitSums

UnitTallies = Mapping[Cell, UnitSums]
"""Sums so far."""


def has_units(rows: Iterable[TallyRow]) -> bool:
    """Whether a look has sums by unit."""
    return any(row.units is not None for row in rows)


def have_returned(units: UnitTallies) -> bool:
    """Whether some unit has more rows than one."""
    return any(sums.nn > sums.n for sums in units.values())


def is_possible(units: UnitSums) -> bool:
    """Whether new sums can be true: finite, and no fewer units or rows than before."""
    return all(map(math.isfinite, units)) and units.size >= 0 and units.n >= 0


def with_units(units: UnitTallies, rows: Iterable[TallyRow]) -> UnitTallies:
    """The sums after these rows are added."""
    added = dict(units)
    for row in rows:
        if row.units is not None:
            added[cell(row)] = added.get(cell(row), UnitSums()) + row.units
    return added


def units_beyond(units: UnitTallies, row: TallyRow) -> UnitSums | None:
    """What a cumulative row adds to these sums by unit; None if nothing is new."""
    new = row.units - units.get(cell(row), UnitSums()) if row.units is not None else None
    return new if new != UnitSums() else None


@dataclass(frozen=True, kw_only=True)
class Cohorts:
    """Units by the cohorts in which they are compared: those of one bucket, or of several that have few each."""

    units: UnitTallies = field(default_factory=dict)
    """All units, by their own stratum."""
    strata: Mapping[Side, Side] = field(default_factory=dict)
    """The cohort of each stratum, which never changes. A stratum without a cohort waits."""
    compared: UnitTallies = field(default_factory=dict)
    """The sums of the units that do not wait, by cohort."""

    def with_rows(self, rows: Sequence[TallyRow], metric: str) -> Cohorts:
        """The cohorts after these rows are added."""
        units = with_units(self.units, rows)
        sizes = sizes_of(
            (s, arm, u.size) for (name, s, arm), u in units.items() if name == metric and s not in self.strata
        )
        new, compared = widened(sizes), dict(self.compared)
        joined = {(name, new[side], arm, side) for name, side, arm in units if side in new}
        for name, stratum, arm, side in sorted(joined):
            compared[name, stratum, arm] = compared.get((name, stratum, arm), UnitSums()) + units[name, side, arm]
        for row in rows:
            name, side, arm = cell(row)
            if row.units is not None and side in self.strata:
                place = (name, self.strata[side], arm)
                compared[place] = compared.get(place, UnitSums()) + row.units
        return Cohorts(units=units, strata={**self.strata, **new}, compared=compared)

    def changes_since(self, before: Cohorts, stable: str, candidate: str) -> tuple[Change, ...]:
        """The cohorts that changed, in order: stable's units by one metric, the candidate's by another."""
        arms = {(stable, Arm.STABLE), (candidate, Arm.CANDIDATE)}
        had, has = before.compared, self.compared
        changed = {
            side
            for (metric, side, arm), sums in has.items()
            if (metric, arm) in arms and sums != had.get((metric, side, arm))
        }

        def cohort(units: UnitTallies, side: Side) -> Cohort:
            return Cohort(
                stable=units.get((stable, side, Arm.STABLE), UnitSums()),
                candidate=units.get((candidate, side, Arm.CANDIDATE), UnitSums()),
            )

        return tuple(Change(before=cohort(had, side), now=cohort(has, side)) for side in sorted(changed))


def arrived_units(row: TallyRow) -> int:
    """The number of units that are new to the rollout; the candidate gets its weight's share of them."""
    return row.units.size if row.units is not None and row.stratum.bucket >= 0 else 0
