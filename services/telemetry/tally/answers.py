"""Answers: what many prediction summaries say, read once and told by column. Pure.

What one of them says is told by `measurements` and `scores`, and is the same. Most summaries begin alike, and
so are not taken apart one by one.
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
        """1 where an answer is not what the signature promises, 0 where it is; not a number where no summary tells."""
        return _column([0.0 if isinstance(each, tuple) else contract(each) for each in self._read])

    def first(self, field: PredictionField | None) -> Floats:
        """The prediction of each first row; not a number where there is none that is one."""
        found = self._first.get(field)
        if found is None:
            found = self._first[field] = _column([_cell(each, field) for each in self._read])
        return found

    @cached_property
    def _read(self) -> list[_Row | Summary]:
        heads, which, rests = split_heads(self._texts)
        columns = [_columns(head) for head in heads]
        found = list[_Row | Summary]()
        for text, place, rest in zip(self._texts, which.tolist(), rests, strict=True):
            names = columns[place]
            row = None if names is None or rest is None else _first_row(rest)
            found.append(Summary(text) if row is None or names is None else (names, row))
        return found


def _columns(head: str) -> list[str] | None:
    """The columns that the beginning of summaries names; None where it says more than them, or nothing."""
    try:
        body = orjson.loads(f"{head}0}}")
    except ValueError:
        return None
    names = body.get("c") if isinstance(body, dict) and list(body) == ["c", "r"] else None
    return names if isinstance(names, list) and all(type(name) is str for name in names) else None


def _first_row(rest: str) -> list[object] | None:
    """The values of the first row, where what follows the columns is a list of rows and nothing else."""
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
