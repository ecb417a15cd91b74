"""Answers: many prediction summaries, parsed once and returned as columns. Pure.

The results equal those of `measurements` and `scores` for single summaries. This is faster, because most summaries
begin with the same text, which is parsed only once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import orjson

from sluicegate.registry.plan.fields import PredictionField
from sluicegate.services.telemetry.tally.batch import Floats, split_heads
from sluicegate.services.telemetry.tally.measurements import contract, prediction
from sluicegate.services.telemetry.tally.scores import LIMIT, Summary

_Row = tuple[list[str], list[object]]
"""Columns, and the first row's values."""


class Answers:
    """The summaries of some answers, in order."""

    def __init__(self, texts: Sequence[str | None]) -> None:
        self._texts = texts
        self._first: dict[PredictionField | None, Floats] = {}

    def __len__(self) -> int:
        return len(self._texts)

    @cached_property
    def broken(self) -> Floats:
        """1 if an answer breaks the signature, 0 if not, NaN without a summary that shows it."""
        return _column([0.0 if isinstance(each, tuple) else contract(each) for each in self._read])

    def first(self, field: PredictionField | None) -> Floats:
        """The prediction in each answer's first row; NaN if it is missing or not a number."""
        column = self._first.get(field)
        if column is None:
            column = self._first[field] = _column([_cell(each, field) for each in self._read])
        return column

    @cached_property
    def _read(self) -> list[_Row | Summary]:
        heads, which, rests = split_heads(self._texts)
        columns = [_columns(head) for head in heads]
        parsed = list[_Row | Summary]()
        for text, place, rest in zip(self._texts, which.tolist(), rests, strict=True):
            names = columns[place]
            row = None if names is None or rest is None else _first_row(rest)
            parsed.append(Summary(text) if row is None or names is None else (names, row))
        return parsed


def _columns(head: str) -> list[str] | None:
    """The columns named in the beginning of a summary; None if it contains anything else, or no columns."""
    try:
        body = orjson.loads(f"{head}0}}")
    except ValueError:
        return None
    names = body.get("c") if isinstance(body, dict) and list(body) == ["c", "r"] else None
    return names if isinstance(names, list) and all(type(name) is str for name in names) else None


def _first_row(rest: str) -> list[object] | None:
    """The values of the first row; None unless the rest of the summary is just a list of rows."""
    try:
        rows = orjson.loads(rest[:-1]) if rest.endswith("}") else None
    except ValueError:
        return None
    return rows[0] if type(rows) is list and set(map(type, rows)) == {list} else None


def _cell(read: _Row | Summary, field: PredictionField | None) -> float | None:
    if isinstance(read, Summary):
        return prediction(read, field)
    names, row = read
    if len(names) == len(row) == 1 and (field is None or field.column == names[0]):
        value = row[0]
        if type(value) is float and abs(value) <= LIMIT:
            return value
    return prediction(Summary.of(names, [row]), field)


def _column(values: Sequence[float | None]) -> Floats:
    return np.array([math.nan if value is None else value for value in values], np.float64)
