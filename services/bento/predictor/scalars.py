"""MLflow's scalar types: what JSON they accept, and the numpy values they become.

What MLflow's own enforcement takes is taken: null where the column can hold a missing value (not in whole numbers),
whole numbers for floating ones. It never turns text into numbers or rounds, and neither does this.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True, kw_only=True)
class _Scalar:
    """What one type means to those who read, write and describe requests."""

    words: str
    schema: CoreSchema
    dtype: str | None
    """numpy's, of a column; None: values stay Python's own."""
    json_type: dict[str, Any]


def _or_null(schema: CoreSchema) -> CoreSchema:
    return core_schema.nullable_schema(schema)


def _whole(bits: int) -> CoreSchema:
    limit = 2 ** (bits - 1)
    whole = core_schema.int_schema(strict=True, ge=-limit, lt=limit)
    written_as_float = core_schema.chain_schema(
        [core_schema.float_schema(strict=True), core_schema.no_info_plain_validator_function(_whole_float), whole]
    )
    return core_schema.union_schema([whole, written_as_float], mode="left_to_right")


def _whole_float(value: float) -> int:
    if not value.is_integer():
        raise ValueError("not whole")
    return int(value)


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


_NUMBER = _or_null(core_schema.float_schema(strict=True))
_TEXT = core_schema.str_schema(strict=True)
_SCALARS = {
    "double": _Scalar(words="a number", schema=_NUMBER, dtype="float64", json_type={"type": ["number", "null"]}),
    "float": _Scalar(words="a number", schema=_NUMBER, dtype="float32", json_type={"type": ["number", "null"]}),
    "long": _Scalar(words="a whole number", schema=_whole(64), dtype="int64", json_type={"type": "integer"}),
    "integer": _Scalar(
        words="a whole number of 32 bits", schema=_whole(32), dtype="int32", json_type={"type": "integer"}
    ),
    "boolean": _Scalar(
        words="true or false",
        schema=_or_null(core_schema.bool_schema(strict=True)),
        dtype="bool",
        json_type={"type": ["boolean", "null"]},
    ),
    "string": _Scalar(words="a string", schema=_or_null(_TEXT), dtype=None, json_type={"type": ["string", "null"]}),
    "datetime": _Scalar(
        words="a date and time such as 2026-01-31T12:00:00",
        schema=_or_null(core_schema.datetime_schema(tz_constraint="naive")),
        dtype="datetime64[ns]",
        json_type={"type": ["string", "null"], "format": "date-time"},
    ),
    "binary": _Scalar(
        words="a string in base64",
        schema=core_schema.no_info_after_validator_function(_decoded, _TEXT),
        dtype=None,
        json_type={"type": "string", "contentEncoding": "base64"},
    ),
}
SCALARS = frozenset(_SCALARS)


def accepts(scalar: str) -> CoreSchema:
    """What pydantic must check for one value of this type."""
    known = _SCALARS[scalar]
    return core_schema.custom_error_schema(known.schema, "kind", custom_error_message=f"{known.words} belongs here")


def column_maker(scalar: str) -> Callable[[Sequence[Any]], Any]:
    """A function from accepted values to what a DataFrame column is made of."""
    import numpy as np

    known = _SCALARS[scalar]
    if known.dtype is None:
        return list
    dtype = np.dtype(known.dtype)
    if scalar == "boolean":
        return lambda values: np.array(values, object if None in values else dtype)
    return lambda values: np.array(values, dtype)


def json_type(scalar: str) -> dict[str, Any]:
    """The type in JSON Schema; anything where it is not known."""
    return _SCALARS[scalar].json_type if scalar in _SCALARS else {}


def as_datetime(value: Any) -> datetime | None:
    """A params value of type datetime, which MLflow writes as text."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value
