"""Checks whether an answer keeps the promise of the model's signature, on the first rows of each answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from .answer import by_row

_ROWS = 32
"""Number of rows of an answer to check: the same as in a summary."""

NOT_A_NUMBER, SHAPE, TYPE = "nan", "shape", "type"
"""How an answer breaks its signature: missing values; other rows or columns; values of other types."""

Check = Callable[[Any], str | None]
"""Returns what is wrong with a value; None if nothing is."""


class Contract:
    """The promise of a signature's outputs, which MLflow itself does not enforce.

    A single column may come with or without its name, and named columns as plain rows in their order, because this
    depends on how a model was trained. Whole numbers count as numbers, 1.0 counts as whole, and booleans count as
    neither.
    """

    def __init__(self, outputs: Sequence[dict[str, Any]] | None) -> None:
        self._names: list[str] = []
        self._checks: list[Check] = []
        self._is_by_row = bool(outputs)
        self._has_lists = False
        self._tensors: dict[str, Check] = {}
        if outputs and outputs[0]["type"] == "tensor":
            self._take_tensors(outputs)
        elif outputs:
            self._names = [str(spec.get("name", position)) for position, spec in enumerate(outputs)]
            self._checks = [_column(spec) for spec in outputs]
            self._has_lists = any(spec["type"] in ("array", "object", "map", "any") for spec in outputs)

    def broken(self, answer: Any, requested: int | None) -> str | None:
        """How an answer in plain lists and dicts breaks the promise, if it does. `requested`: rows, if known."""
        if self._tensors:
            return self._named_tensors(answer)
        if self._names and not self._has_lists:
            answer = by_row(answer, requested)
        rows = answer if isinstance(answer, list) else [answer]
        if self._is_by_row and requested is not None and len(rows) != requested:
            return SHAPE
        for row in rows[:_ROWS]:
            if fault := self._row(row) if self._checks else _any(row):
                return fault
        return None

    def _row(self, row: Any) -> str | None:
        plain = row if self._names and isinstance(row, list) else [row]
        cells = self._by_name(row) if isinstance(row, dict) else plain
        if cells is None or len(cells) != len(self._checks):
            return SHAPE
        return next((fault for check, cell in zip(self._checks, cells, strict=True) if (fault := check(cell))), None)

    def _by_name(self, row: dict[str, Any]) -> list[Any] | None:
        if len(self._names) == 1 and len(row) == 1:
            return list(row.values())
        return [row[name] for name in self._names] if set(row) == set(self._names) else None

    def _take_tensors(self, outputs: Sequence[dict[str, Any]]) -> None:
        specs = [(spec.get("name"), spec["tensor-spec"]) for spec in outputs]
        if specs[0][0] is not None:
            self._tensors = {str(name): _tensor(tensor["dtype"], tensor["shape"]) for name, tensor in specs}
            return
        dtype, shape = specs[0][1]["dtype"], specs[0][1]["shape"]
        self._is_by_row = bool(shape) and shape[0] == -1
        self._checks = [_tensor(dtype, shape[1:])]

    def _named_tensors(self, answer: Any) -> str | None:
        if not isinstance(answer, dict) or set(answer) != set(self._tensors):
            return SHAPE
        return next((fault for name, check in self._tensors.items() if (fault := check(answer[name]))), None)


def _column(spec: dict[str, Any]) -> Check:
    check = _SCALARS.get(spec["type"], _any)
    if spec.get("required", True):
        return check
    return lambda value: None if value is None else check(value)


def _tensor(dtype: str, shape: Sequence[int]) -> Check:
    """A check of nested lists, where each level has the length in the shape; -1 allows any."""
    check = _scalar_of(dtype)
    for length in reversed(shape):
        check = _level(length, check)
    return check


def _level(length: int, inner: Check) -> Check:
    def check(value: Any) -> str | None:
        if not isinstance(value, list) or (length >= 0 and len(value) != length):
            return SHAPE
        return next((fault for each in value[:_ROWS] if (fault := inner(each))), None)

    return check


def _scalar_of(dtype: str) -> Check:
    if dtype.startswith("float"):
        return _number
    if dtype.startswith(("int", "uint")):
        return _whole
    return _truth if dtype == "bool" else _any


def _number(value: Any) -> str | None:
    kind = type(value)
    if kind is float or kind is int:
        return None if math.isfinite(value) else NOT_A_NUMBER
    return NOT_A_NUMBER if value is None else TYPE


def _whole(value: Any) -> str | None:
    if type(value) is int or (type(value) is float and value.is_integer()):
        return None
    return NOT_A_NUMBER if value is None or value != value else TYPE


def _truth(value: Any) -> str | None:
    if isinstance(value, bool):
        return None
    return NOT_A_NUMBER if value is None else TYPE


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return None
    return NOT_A_NUMBER if value is None or value != value else TYPE


def _any(value: Any) -> str | None:
    """The check without a promised type: no NaN and nothing missing, at any depth."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return next((fault for each in value[:_ROWS] if (fault := _any(each))), None)
    is_number = isinstance(value, float) and not math.isfinite(value)
    return NOT_A_NUMBER if value is None or is_number else None


_SCALARS: dict[str, Check] = {
    "double": _number, "float": _number, "integer": _whole, "long": _whole, "boolean": _truth, "string": _text,
}  # fmt: skip
