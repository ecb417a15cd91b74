"""Cells: what the rows of a gate's looks add up to, by metric, stratum, weight and arm. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from sluicegate.registry.words.metric import Arm, Stratum, TallyRow
from sluicegate.registry.words.tally import Tally

Rows = tuple[TallyRow, ...]
"""The rows of one look: new since the look before."""
Side = tuple[Stratum, int]
"""A stratum and the candidate's weight in it, in basis points."""
Cell = tuple[str, Side, Arm]
Tallies = Mapping[Cell, Tally]
Totals = Mapping[tuple[str, Arm], Tally]
"""The tally of a metric in one arm, all strata together."""


def cell(row: TallyRow) -> Cell:
    """The cell that a row adds to."""
    return row.metric, (row.stratum, row.weight), row.arm


def with_totals(totals: Totals, rows: Iterable[TallyRow]) -> Totals:
    """The totals after these rows are added."""
    added = dict(totals)
    for row in rows:
        added[row.metric, row.arm] = added.get((row.metric, row.arm), Tally()) + row.tally
    return added


def with_rows(tallies: Tallies, rows: Iterable[TallyRow]) -> Tallies:
    """The tallies after these rows are added."""
    added = dict(tallies)
    for row in rows:
        added[cell(row)] = added.get(cell(row), Tally()) + row.tally
    return added


def beyond(tallies: Tallies, cumulative: Iterable[TallyRow]) -> Iterator[TallyRow]:
    """What cumulative rows add to these tallies, in order of metric, stratum, weight and arm. A row whose tally has not
    changed is kept, with an empty tally, if it has sums by unit."""
    changed = (row for row in cumulative if row.units is not None or row.tally != tallies.get(cell(row)))
    for row in sorted(changed, key=cell):
        yield replace(row, tally=row.tally - tallies.get(cell(row), Tally()))
