"""Merges the inputs of several requests, and splits the answer again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def form(data: Any) -> object:
    """A value that inputs must share to be merged; None if an input cannot be merged.

    It includes the types, so that merging changes no value. A table with its own row labels cannot be merged.
    """
    if hasattr(data, "columns"):
        has_own_labels = type(data.index).__name__ != "RangeIndex"
        return None if has_own_labels else ("table", tuple(data.columns), tuple(data.dtypes))
    if isinstance(data, dict) and data:
        forms = tuple((name, form(array)) for name, array in data.items())
        return forms if all(each for _, each in forms) and len({len(array) for array in data.values()}) == 1 else None
    shape = getattr(data, "shape", ())
    return ("array", data.dtype, shape[1:]) if shape else None


def rows(data: Any) -> int:
    """How many rows an input with a form has."""
    return len(next(iter(data.values()))) if isinstance(data, dict) else len(data)


def merged(inputs: Sequence[Any]) -> Any:
    """One input with the rows of all inputs, which have the same form."""
    first = inputs[0]
    if len(inputs) == 1:
        return first
    if hasattr(first, "columns"):
        import pandas as pd

        return pd.concat(inputs, ignore_index=True)
    if isinstance(first, dict):
        return {name: merged([each[name] for each in inputs]) for name in first}
    import numpy as np

    return np.concatenate(inputs)


def parts(answer: Any, lengths: Sequence[int]) -> list[Any] | None:
    """Split an answer in plain lists and dicts into parts of these lengths; None if it is not by row."""
    if isinstance(answer, dict):
        cut = [parts(cells, lengths) if isinstance(cells, list) else None for cells in answer.values()]
        columns = [cells for cells in cut if cells is not None]
        if not cut or len(columns) < len(cut):
            return None
        return [dict(zip(answer, cells, strict=True)) for cells in zip(*columns, strict=True)]
    if not isinstance(answer, list) or len(answer) != sum(lengths):
        return None
    ends = [sum(lengths[: number + 1]) for number in range(len(lengths))]
    return [answer[end - length : end] for end, length in zip(ends, lengths, strict=True)]
