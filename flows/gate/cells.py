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
"""Of a metric in one arm, all strata together."""


def cell(row: TallyRow) -> Cell:
    """What a row adds to."""
    return row.metric, (row.stratum, row.weight), row.arm


def with_totals(totals: Totals, rows: Iterable[TallyRow]) -> Totals:
    """The totals with what these rows add."""
    added = dict(totals)
    for row in rows:
        added[row.metric, row.arm] = added.get((row.metric, row.arm), Tally()) + row.tally
    return added


def with_rows(tallies: Tallies, rows: Iterable[TallyRow]) -> Tallies:
    """The tallies with what these rows add."""
    added = dict(tallies)
    for row in rows:
        added[cell(row)] = added.get(cell(row), Tally()) + row.tally
    return added


def beyond(tallies: Tallies, cumulative: Iterable[TallyRow]) -> Iterator[TallyRow]:
    """What cumulative rows hold beyond these tallies, in order of metric, stratum, weight and arm; of a row whose tally
    has not changed only what it tells of units."""
    changed = (row for row in cumulative if row.units is not None or row.tally != tallies.get(cell(row)))
    for row in sorted(changed, key=cell):
        yield replace(row, tally=row.tally - tallies.get(cell(row), Tally()))
