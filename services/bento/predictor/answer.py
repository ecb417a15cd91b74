"""What a model answered, as JSON for the caller and as one short line for the log."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from pydantic_core import to_json

_ROWS = 32
_BYTES = 2048
_CELLS = (str, int, float, bool, type(None))


def plain(prediction: Any) -> Any:
    """The prediction in lists and dicts, as MLflow's scoring server writes it: tables as lists of records."""
    if hasattr(prediction, "columns") and hasattr(prediction, "to_dict"):
        return _records(prediction)
    if hasattr(prediction, "to_frame"):
        return _records(prediction.to_frame())
    if hasattr(prediction, "toarray"):
        return prediction.toarray().tolist()
    return prediction.tolist() if hasattr(prediction, "tolist") else prediction


def dump(value: Any) -> bytes:
    """JSON bytes; NaN and infinities become null, as JSON has no word for them."""
    return to_json(value, inf_nan_mode="null", bytes_mode="base64", fallback=_plain_cell)


def summary(answer: Any, broken: str | None = None) -> str:
    """`{"c": columns, "r": rows}` in ASCII; `{"n": rows, "truncated": true}` when that is too long or not a table.

    With `"x"` and how the answer breaks the model's signature, where it does.
    """
    mark = {"x": broken} if broken else {}
    table = _table(answer)
    if table is not None and len(table[1]) <= _ROWS:
        text = json.dumps({"c": table[0], "r": table[1]} | mark, separators=(",", ":"))
        if len(text) <= _BYTES:
            return text
    return outline(answer, broken)


def outline(answer: Any, broken: str | None = None) -> str:
    """How many rows an answer has, and how it breaks the signature: nothing of what was predicted."""
    rows = len(answer) if isinstance(answer, list) else 1
    mark = {"x": broken} if broken else {}
    return json.dumps({"n": rows, "truncated": True} | mark, separators=(",", ":"))


def _records(frame: Any) -> list[dict[str, Any]]:
    names = [str(name) for name in frame.columns]
    cells = [frame.iloc[:, position].tolist() for position in range(len(names))]
    return [dict(zip(names, row, strict=True)) for row in zip(*cells, strict=True)]


def _plain_cell(value: Any) -> Any:
    for way in ("tolist", "isoformat"):
        if hasattr(value, way):
            return getattr(value, way)()
    return plain(value) if hasattr(value, "to_dict") else str(value)


def _table(answer: Any) -> tuple[list[str], list[list[Any]]] | None:
    """Columns and rows of an answer in plain values; None when it is no table of single values."""
    rows = answer if isinstance(answer, list) else [answer]
    if not rows or len(rows) > _ROWS:
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
