"""Input rows as the JSON that a model's service reads. Pure; does not import pandas or numpy."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from sluicegate.services.client.problems import CannotBeSent

Rows = Mapping[str, Any] | Iterable[Any]
"""A pandas or polars DataFrame, a numpy array, records, one record, columns of lists, or rows of values."""

_KINDS = "a DataFrame, a numpy array, a list of records, one record, or lists by column"


@dataclass(frozen=True, kw_only=True)
class Payload:
    """A request's body, and the index of its rows."""

    content: bytes
    index: Any = None


def payload(data: Rows, params: Mapping[str, Any] | None = None) -> Payload:
    """The body for these rows. NaN and other missing values become null. Raises CannotBeSent."""
    key, value, index = _form(data)
    document = {key: value} if params is None else {key: value, "params": dict(params)}
    return Payload(content=_dump(document), index=index)


def _form(data: Any) -> tuple[str, Any, Any]:
    """The body's key and value, and the rows' index."""
    if isinstance(data, str | bytes | bytearray) or data is None:
        raise CannotBeSent(f"input is {type(data).__name__}.", fix=f"Give {_KINDS}.")
    if hasattr(data, "columns") and hasattr(data, "to_dicts"):
        return "inputs", data.to_dicts(), None
    if hasattr(data, "columns") and hasattr(data, "iloc"):
        return "dataframe_split", _split(data), data.index
    if hasattr(data, "iloc"):
        raise CannotBeSent(
            "input is a pandas Series.", fix="Give a DataFrame: .to_frame(), or .to_frame().T for a row."
        )
    if hasattr(data, "shape") and hasattr(data, "tolist"):
        if not data.shape:
            raise CannotBeSent(
                "input is an array without dimensions, so it has no rows.",
                fix="Give one with a row for each prediction.",
            )
        return "inputs", data.tolist(), None
    if isinstance(data, Mapping):
        return "inputs", (dict(data) if _is_columns(data) else [dict(data)]), None
    if isinstance(data, Iterable):
        return "inputs", list(data), None
    raise CannotBeSent(f"input is {type(data).__name__}.", fix=f"Give {_KINDS}.")


def _is_columns(data: Mapping[str, Any]) -> bool:
    return bool(data) and all(isinstance(value, list | tuple) or hasattr(value, "tolist") for value in data.values())


def _split(frame: Any) -> dict[str, Any]:
    names = [str(name) for name in frame.columns]
    if len(set(names)) != len(names):
        raise CannotBeSent("two columns of the DataFrame have the same name.", fix="Rename one of them.")
    cells = [frame.iloc[:, position].tolist() for position in range(len(names))]
    return {"columns": names, "data": list(zip(*cells, strict=True))}


def _dump(document: Any) -> bytes:
    """The document as JSON. Most input needs no conversion; only the rest is converted cell by cell."""
    try:
        text = json.dumps(document, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError):
        text = json.dumps(_plain(document, "input"), allow_nan=False, ensure_ascii=False)
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise CannotBeSent("the input has a text that is not valid Unicode.") from None


def _plain(value: Any, where: str) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return _finite(value, where)
        case Decimal():
            return _finite(float(value), where)
        case bytes() | bytearray():
            return base64.b64encode(value).decode()
        case Mapping():
            return {str(key): _plain(cell, f"{where}.{key}") for key, cell in value.items()}
        case list() | tuple():
            return [_plain(cell, f"{where}[{position}]") for position, cell in enumerate(value)]
        case _ if _is_missing(value):
            return None
        case datetime() | date() | time():
            return value.isoformat()
        case _ if hasattr(value, "tolist"):
            return _plain(value.tolist(), where)
        case _:
            raise CannotBeSent(
                f"{where} is {type(value).__name__}, which JSON cannot represent.", fix="Convert it first."
            )


def _finite(value: float, where: str) -> float | None:
    if math.isinf(value):
        raise CannotBeSent(f"{where} is infinite, which JSON cannot represent.", fix="Replace it by a number or None.")
    return None if math.isnan(value) else value


def _is_missing(value: Any) -> bool:
    """Whether the value is pandas' NaT or NA, without importing pandas."""
    return type(value).__name__ in ("NaTType", "NAType")
