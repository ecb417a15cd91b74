"""MLflow's scalar types: what JSON they accept, and the numpy values they become.

What MLflow's own enforcement takes is taken: null where the column can hold a missing value (not in whole numbers),
whole numbers for floating ones. It never turns text into numbers or rounds, and neither does this.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from pydantic_core import CoreSchema, core_schema

_WORDS = {
    "double": "a number", "float": "a number", "long": "a whole number", "integer": "a whole number of 32 bits",
    "boolean": "true or false", "string": "a string", "datetime": "a date and time such as 2026-01-31T12:00:00",
    "binary": "a string in base64",
}  # fmt: skip
SCALARS = frozenset(_WORDS)


def accepts(scalar: str) -> CoreSchema:
    """What pydantic must check for one value of this type."""
    schema: CoreSchema
    match scalar:
        case "double" | "float":
            schema = core_schema.nullable_schema(core_schema.float_schema(strict=True))
        case "long":
            schema = _whole(64)
        case "integer":
            schema = _whole(32)
        case "boolean":
            schema = core_schema.nullable_schema(core_schema.bool_schema(strict=True))
        case "string":
            schema = core_schema.nullable_schema(core_schema.str_schema(strict=True))
        case "datetime":
            schema = core_schema.nullable_schema(core_schema.datetime_schema(tz_constraint="naive"))
        case "binary":
            schema = core_schema.no_info_after_validator_function(_decoded, core_schema.str_schema(strict=True))
        case _:
            raise ValueError(f"{scalar} is not a scalar type")
    return core_schema.custom_error_schema(schema, "kind", custom_error_message=f"{_WORDS[scalar]} belongs here")


def column_maker(scalar: str) -> Callable[[Sequence[Any]], Any]:
    """A function from accepted values to what a DataFrame column is made of."""
    import numpy as np

    match scalar:
        case "double":
            return lambda values: np.array(values, np.float64)
        case "float":
            return lambda values: np.array(values, np.float32)
        case "long":
            return lambda values: np.array(values, np.int64)
        case "integer":
            return lambda values: np.array(values, np.int32)
        case "boolean":
            return lambda values: np.array(values, object if None in values else np.bool_)
        case "datetime":
            return lambda values: np.array(values, "datetime64[ns]")
        case _:
            return list


def json_type(scalar: str) -> dict[str, Any]:
    """The type in JSON Schema."""
    match scalar:
        case "double" | "float":
            return {"type": ["number", "null"]}
        case "long" | "integer":
            return {"type": "integer"}
        case "boolean":
            return {"type": ["boolean", "null"]}
        case "datetime":
            return {"type": ["string", "null"], "format": "date-time"}
        case "binary":
            return {"type": "string", "contentEncoding": "base64"}
        case "string":
            return {"type": ["string", "null"]}
        case _:
            return {}


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


def as_datetime(value: Any) -> datetime | None:
    """A params value of type datetime, which MLflow writes as text."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value
