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


def cell(row: TallyRow) -> Cell:
    """What a row adds to."""
    return row.metric, (row.stratum, row.weight), row.arm


def with_rows(tallies: Tallies, rows: Iterable[TallyRow]) -> Tallies:
    """The tallies with what these rows add."""
    added = dict(tallies)
    for row in rows:
        added[cell(row)] = added.get(cell(row), Tally()) + row.tally
    return added


def beyond(tallies: Tallies, cumulative: Iterable[TallyRow]) -> Iterator[TallyRow]:
    """What cumulative rows hold beyond these tallies, in order of metric, stratum, weight and arm."""
    for row in sorted(cumulative, key=cell):
        yield replace(row, tally=row.tally - tallies.get(cell(row), Tally()))
