"""The outermost object of a request: BentoML's `inputs` and MLflow's payloads, with optional params."""

from __future__ import annotations

import json
import math
from typing import Any

from pydantic_core import from_json

from .problem import refuse, similar

FORMATS = ("dataframe_split", "dataframe_records", "inputs", "instances")
PARAMS = "params"
FORM = 'Send one object such as {"inputs": [{"column": value}]}.'


def open_envelope(body: bytes) -> tuple[str, Any, Any]:
    """The format, its value, and the params. Raises Unacceptable."""
    try:
        document = from_json(body)
    except ValueError as error:
        raise refuse("body", f"not JSON: {error}", FORM) from None
    if not isinstance(document, dict):
        raise refuse("body", f"expected an object, got {kind(document)}", FORM)
    for key in document:
        if key not in FORMATS and key != PARAMS:
            raise refuse(key, "unknown key", similar(key, (*FORMATS, PARAMS)))
    formats = [key for key in document if key in FORMATS]
    if len(formats) != 1:
        raise refuse("body", f"expected exactly one of {', '.join(FORMATS)}, got {len(formats)}", FORM)
    return formats[0], document[formats[0]], document.get(PARAMS)


def split_columns(value: Any) -> tuple[list[Any] | None, list[list[Any]], Any]:
    """Column names (None when not given), rows and index of a `dataframe_split`. Raises Unacceptable."""
    fix = 'Send {"columns": [names], "data": [[values of a row]]}.'
    if not isinstance(value, dict) or "data" not in value:
        raise refuse("dataframe_split", "expected an object with `columns` and `data`", fix)
    for key in value:
        if key not in ("columns", "data", "index"):
            raise refuse(f"dataframe_split.{key}", "unknown key", fix)
    columns, rows, index = value.get("columns"), value["data"], value.get("index")
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise refuse("dataframe_split.data", "expected a list of rows, each a list of values", fix)
    if columns is None:
        return None, rows, index
    if not isinstance(columns, list) or len(set(map(str, columns))) != len(columns):
        raise refuse("dataframe_split.columns", "expected a list of column names, each once", fix)
    for number, row in enumerate(rows):
        if len(row) != len(columns):
            where, what = f"dataframe_split.data[{number}]", f"{len(row)} values for {len(columns)} columns"
            raise refuse(where, what, "Give every row one value for each column.")
    if index is not None and (not isinstance(index, list) or len(index) != len(rows)):
        raise refuse("dataframe_split.index", "expected one label for each row", "Leave the index out.")
    return columns, rows, index


def kind(value: object) -> str:
    """The kind of a JSON value, in words."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"


def is_infinite(value: Any) -> bool:
    """Whether a value, or one inside it, is infinite."""
    match value:
        case list():
            return any(map(is_infinite, value))
        case dict():
            return any(map(is_infinite, value.values()))
        case _:
            return isinstance(value, float) and math.isinf(value)


def refuse_overflow(body: bytes) -> None:
    """Raise Unacceptable if an infinite value was written as a number, such as 1e400. Accepts `Infinity`."""
    try:
        document = json.loads(body, parse_float=_Written)
    except (ValueError, RecursionError):
        return
    if place := _overflow(document, ""):
        where, text = place
        raise refuse(where, f"{text[:60]} is larger than a double can hold (about 1.8e308)", "Send a smaller number.")


class _Written(float):
    """A number that remembers its text."""

    def __init__(self, text: str) -> None:
        self.text = text


def _overflow(value: Any, where: str) -> tuple[str, str] | None:
    match value:
        case _Written() if math.isinf(value):
            return where, value.text
        case dict():
            places = ((f"{where}.{name}".lstrip("."), each) for name, each in value.items())
        case list():
            places = ((f"{where}[{number}]", each) for number, each in enumerate(value))
        case _:
            return None
    return next((place for name, each in places if (place := _overflow(each, name))), None)
