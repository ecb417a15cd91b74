"""A model's answer, as JSON for the caller and as one short line for the log."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from pydantic_core import to_json

_ROWS = 32
_BYTES = 2048
_JSON = {str, int, float, bool, type(None)}
_CELLS = tuple(_JSON)


def plain(prediction: Any) -> Any:
    """The prediction as lists, dicts and JSON values, like MLflow's scoring server: tables as records.

    Also converts values that MLflow cannot write: times by ISO 8601, missing values to null.
    """
    if hasattr(prediction, "columns") and hasattr(prediction, "to_dict"):
        return _records(prediction)
    if hasattr(prediction, "to_frame") and hasattr(prediction, "dtype"):
        return _records(prediction.to_frame())
    if hasattr(prediction, "toarray"):
        return prediction.toarray().tolist()
    if hasattr(prediction, "tolist"):
        return _listed(prediction)
    return _value(prediction)


def dump(value: Any) -> bytes:
    """JSON bytes. NaN and infinities become null, because JSON cannot express them."""
    return to_json(value, inf_nan_mode="null", fallback=_value)


def summary(answer: Any, broken: str | None = None, requested: int | None = None, *, whole: bool = False) -> str:
    """`{"c": columns, "r": rows}` in ASCII; `{"n": rows, "truncated": true}` if that is too long or not a table.

    If the answer breaks the model's signature, `"x"` says how. `whole`: no length is too long, because the summary
    need not fit into a header.
    """
    mark = {"x": broken} if broken else {}
    rows = by_row(answer, requested)
    is_short = whole or not isinstance(rows, list) or len(rows) <= _ROWS
    table = _table(rows) if is_short else None
    if table is not None:
        text = json.dumps({"c": table[0], "r": table[1]} | mark, separators=(",", ":"))
        if whole or len(text) <= _BYTES:
            return text
    return outline(answer, broken, requested)


def outline(answer: Any, broken: str | None = None, requested: int | None = None) -> str:
    """A summary without predictions: how many rows an answer has, and how it breaks the signature."""
    answer = by_row(answer, requested)
    rows = len(answer) if isinstance(answer, list) else 1
    mark = {"x": broken} if broken else {}
    return json.dumps({"n": rows, "truncated": True} | mark, separators=(",", ":"))


def by_row(answer: Any, requested: int | None) -> Any:
    """Convert an answer by column, `{"label": [...], "score": [...]}`, to rows. Others are returned unchanged.

    `requested`: the number of rows in the request, if known; lists of another length are values of one row.
    """
    if not isinstance(answer, dict) or not answer or not all(isinstance(cells, list) for cells in answer.values()):
        return answer
    lengths = {len(cells) for cells in answer.values()}
    if len(lengths) != 1 or lengths == {0} or requested not in (None, *lengths):
        return answer
    return [dict(zip(answer, row, strict=True)) for row in zip(*answer.values(), strict=True)]


def _records(frame: Any) -> list[dict[str, Any]]:
    names = [str(name) for name in frame.columns]
    cells = [_listed(frame.iloc[:, position]) for position in range(len(names))]
    return [dict(zip(names, row, strict=True)) for row in zip(*cells, strict=True)]


def _listed(array: Any) -> Any:
    """An array, a column or a tensor as lists. Numbers, booleans and text need no further conversion."""
    dtype = getattr(array, "dtype", None)
    kind = getattr(dtype, "kind", None)
    if kind in ("M", "m") and hasattr(array, "astype"):
        return _value(array.astype(object).tolist() if _nanoseconds(dtype) is None else _times(array))
    values = array.tolist()
    return values if kind in ("b", "i", "u", "f", "U") else _value(values)


def _nanoseconds(dtype: Any) -> Any:
    """A numpy dtype of times, which `tolist` would turn into integers; None for pandas' own dtypes."""
    return dtype if hasattr(dtype, "itemsize") and not hasattr(dtype, "tz") else None


def _times(array: Any) -> Any:
    import numpy as np
    import pandas as pd

    array = np.asarray(array)
    wrap = pd.Timestamp if array.dtype.kind == "M" else pd.Timedelta
    if array.ndim == 0:
        return wrap(array[()])
    return [_times(each) if array.ndim > 1 else wrap(each) for each in array]


def _value(value: Any) -> Any:
    """Convert a value, or lists and dicts of values, to JSON values."""
    kind = type(value)
    if kind in _JSON:
        return value
    if kind is list:
        return value if set(map(type, value)) <= _JSON else [_value(each) for each in value]
    match value:
        case dict():
            return {_key(name): plain(each) for name, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(each) for each in value]
        case bool() | int() | float() | str():
            return value.item() if hasattr(value, "item") else value
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode("ascii")
        case Enum():
            return _value(value.value)
        case _:
            return _object(value)


def _object(value: Any) -> Any:
    """Convert a value that is not of a built-in type."""
    if _is_missing(value):
        return None
    if hasattr(value, "model_dump"):
        return _value(value.model_dump())
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "dtype") or hasattr(value, "to_dict") or hasattr(value, "tolist"):
        return plain(value)
    return str(value)


def _is_missing(value: Any) -> bool:
    """Whether the value is pandas' NA or NaT."""
    return type(value).__name__ in ("NAType", "NaTType")


def _key(name: Any) -> str:
    """A key as `json` writes it."""
    if isinstance(name, str):
        return name
    name = name.item() if hasattr(name, "item") else name
    return json.dumps(name) if name is None or isinstance(name, bool) else str(name)


def _table(answer: Any) -> tuple[list[str], list[list[Any]]] | None:
    """Columns and rows of an answer in plain values; None if it is not a table of single values."""
    rows = answer if isinstance(answer, list) else [answer]
    if not rows:
        return None
    first = rows[0]
    if isinstance(first, dict):
        names = list(first)
        if any(not isinstance(row, dict) or list(row) != names for row in rows):
            return None
        return _cells([str(name) for name in names], [list(row.values()) for row in rows])
    if isinstance(first, list):
        if any(not isinstance(row, list) or len(row) != len(first) for row in rows):
            return None
        return _cells([str(position) for position in range(len(first))], rows)
    return _cells(["prediction"], [[row] for row in rows])


def _cells(names: list[str], rows: Sequence[Sequence[Any]]) -> tuple[list[str], list[list[Any]]] | None:
    cells = [[_cell(value) for value in row] for row in rows]
    if any(not isinstance(value, _CELLS) for row in cells for value in row):
        return None
    return names, cells


def _cell(value: Any) -> Any:
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
