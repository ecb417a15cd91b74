"""MLflow's scalar types: the JSON they accept, and the numpy values they become.

Accepts what MLflow's own enforcement accepts: null where the column can hold missing values (so not for whole numbers),
and whole numbers for floats. Like MLflow, it never turns text into numbers, and never rounds.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from pydantic_core import CoreSchema, SchemaValidator, core_schema

from .envelope import kind


@dataclass(frozen=True, kw_only=True)
class _Scalar:
    """How to read, convert and describe values of one type."""

    words: str
    schema: CoreSchema
    dtype: str | None
    """The numpy dtype of a column; None if values stay Python objects."""
    json_type: dict[str, Any]
    doubtful: Callable[[Any], Any] | None = None
    """Reads the few values that the schema rejects although they are right."""
    within: str = ""
    """What is wrong with a rejected value of the right kind."""


def _or_null(schema: CoreSchema) -> CoreSchema:
    return core_schema.nullable_schema(schema)


_EXACT = 2**53
"""Below this, a double holds every whole number."""
_FLOATS = {16: 65504.0, 32: 3.4028234663852886e38, 64: 1.7976931348623157e308}
_FIRST = datetime.fromisoformat("1677-09-21T00:12:43.145225")
_LAST = datetime.fromisoformat("2262-04-11T23:47:16.854775")
"""The first and last time that 64-bit nanoseconds can express."""
_NANOSECONDS = re.compile(r"(.*[.,]\d{6})(\d{1,3})0*\Z")


def _whole(low: int, high: int) -> CoreSchema:
    return core_schema.int_schema(strict=True, ge=low, le=high)


def _written_as_float(low: int, high: int) -> Callable[[Any], int]:
    """Reads whole numbers with a decimal point: 3.0 is 3. From 2^53 on, different numbers look the same."""

    def read(value: Any) -> int:
        if type(value) is not float or not value.is_integer() or abs(value) >= _EXACT or not low <= value <= high:
            raise ValueError("not such a whole number")
        return int(value)

    return read


def _large_number(most: float) -> Callable[[Any], float]:
    """Reads numbers at the ends of the range. Refuses whole numbers that a double cannot hold exactly."""

    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError("not a number")  # noqa: TRY004 - pydantic reads ValueError alone
        number = _as_float(value)
        if isinstance(value, int) and (number is None or (most == _FLOATS[64] and not _is_told_by(value, number))):
            raise ValueError("not held exactly")
        if number is None or most < abs(number) < math.inf:
            raise ValueError("out of range")
        return number

    return read


def _is_told_by(value: int, number: float) -> bool:
    """Whether a double equals this whole number or is written so: JavaScript writes 2^63 as 9223372036854776000."""
    return int(number) == value or Decimal(repr(number)) == value


def _as_float(value: float) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None


def _nanoseconds(value: Any) -> Any:
    """Reads a time with more than six decimals of a second as a numpy value, since datetime holds at most six."""
    import numpy as np

    parts = _NANOSECONDS.match(value) if isinstance(value, str) else None
    if parts is None:
        raise ValueError("not such a time")
    whole = _TIME.validate_python(parts[1])
    return np.datetime64(whole, "ns") + np.timedelta64(int(parts[2].ljust(3, "0")), "ns")


def _decoded(value: str) -> bytes:
    """Decode base64, with or without line breaks, which MLflow's server writes."""
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def _whole_text(value: str) -> str:
    """Accept a text that an array can hold unchanged."""
    if value.endswith("\0"):
        raise ValueError("it ends in NUL")
    return value


_DATETIME = core_schema.datetime_schema(tz_constraint="naive", microseconds_precision="error", ge=_FIRST, le=_LAST)
_TIME = SchemaValidator(_DATETIME)


def _whole_scalar(low: int, high: int, words: str, dtype: str) -> _Scalar:
    """The scalar type for whole numbers in a range."""
    return _Scalar(
        words=words, schema=_whole(low, high), doubtful=_written_as_float(low, high), dtype=dtype,
        json_type={"type": "integer"}, within=f"outside {low} to {high}",
    )  # fmt: skip


def _float_scalar(bits: int) -> _Scalar:
    """The scalar type for floats of one size."""
    most = _FLOATS[bits]
    edge = float(_EXACT - 1) if bits == 64 else most
    return _Scalar(
        words="a number", schema=_or_null(core_schema.float_schema(strict=True, ge=-edge, le=edge)),
        doubtful=_large_number(most), dtype=f"float{bits}", json_type={"type": ["number", "null"]},
        within=f"beyond what a {dict(_NAMES)[bits]} holds, {most!r}",
    )  # fmt: skip


_NAMES = ((16, "float of 16 bits"), (32, "float of 32 bits"), (64, "double"))
_TEXT = core_schema.str_schema(strict=True)
_SCALARS = {
    "double": _float_scalar(64),
    "float": _float_scalar(32),
    "long": _whole_scalar(-(2**63), 2**63 - 1, "a whole number", "int64"),
    "integer": _whole_scalar(-(2**31), 2**31 - 1, "a whole number of 32 bits", "int32"),
    "boolean": _Scalar(
        words="true or false",
        schema=_or_null(core_schema.bool_schema(strict=True)),
        dtype="bool",
        json_type={"type": ["boolean", "null"]},
    ),
    "string": _Scalar(words="a string", schema=_or_null(_TEXT), dtype=None, json_type={"type": ["string", "null"]}),
    "datetime": _Scalar(
        words="a date and time such as 2026-01-31T12:00:00",
        schema=_or_null(_DATETIME),
        doubtful=_nanoseconds,
        within=f"outside {_FIRST.isoformat()} to {_LAST.isoformat()}",
        dtype="datetime64[ns]",
        json_type={"type": ["string", "null"], "format": "date-time"},
    ),
    "binary": _Scalar(
        words="a string in base64",
        schema=_or_null(core_schema.no_info_after_validator_function(_decoded, _TEXT)),
        dtype=None,
        json_type={"type": ["string", "null"], "contentEncoding": "base64"},
    ),
}
SCALARS = frozenset(_SCALARS)
_SIZES = (8, 16, 32, 64)
_DTYPES = (
    {f"float{bits}": _float_scalar(bits) for bits in _FLOATS}
    | {f"int{n}": _whole_scalar(-(2 ** (n - 1)), 2 ** (n - 1) - 1, "a whole number", f"int{n}") for n in _SIZES}
    | {f"uint{n}": _whole_scalar(0, 2**n - 1, "a whole number", f"uint{n}") for n in _SIZES}
    | {
        "bool": _Scalar(
            words="true or false",
            schema=core_schema.bool_schema(strict=True),
            dtype="bool",
            json_type={"type": "boolean"},
        )
    }
    | {"datetime64[ns]": _SCALARS["datetime"]}
    | {
        "str": _Scalar(
            words="a string",
            within="it ends in NUL, which arrays cannot keep",
            schema=core_schema.no_info_after_validator_function(_whole_text, _TEXT),
            dtype=None,
            json_type={"type": "string"},
        ),
        "bytes": _Scalar(
            words="a string",
            within="it is not ASCII, or it ends in NUL, which arrays cannot keep",
            schema=core_schema.no_info_after_validator_function(lambda text: _whole_text(text).encode("ascii"), _TEXT),
            dtype=None,
            json_type={"type": "string"},
        ),
    }
)
"""The numpy dtypes of arrays."""


def accepts(scalar: str, *, quick: bool = False) -> CoreSchema:
    """The pydantic schema for one value of a column or an array. `quick`: accepts only its plain values."""
    spec = _spec_of(scalar)
    schema = spec.schema
    if spec.doubtful is not None and not quick:
        rest = core_schema.no_info_plain_validator_function(spec.doubtful)
        schema = core_schema.union_schema([schema, rest], mode="left_to_right")
    return core_schema.custom_error_schema(
        schema, "kind", custom_error_message="of another kind", custom_error_context={"scalar": scalar}
    )


def fault(detail: Any) -> str:
    """What is wrong, from one of pydantic's errors."""
    value = detail["input"]
    match detail["type"]:
        case "kind":
            return misfit(detail["ctx"]["scalar"], value)
        case "missing":
            return "missing"
        case "extra_forbidden":
            return "unknown"
        case "list_type":
            return f"expected a list, got {kind(value)}"
        case "dict_type":
            return f"expected an object, got {kind(value)}"
        case _:
            return f"{detail['msg']}, not {kind(value)}"


def place(loc: Iterable[int | str]) -> str:
    """The place inside a value, as text."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in loc)


def misfit(scalar: str, value: Any) -> str:
    """What is wrong with a value that the type does not accept."""
    spec = _spec_of(scalar)
    shown = _shown(value)
    match value:
        case int() | float() if not isinstance(value, bool) and (spec.dtype or "M")[0] in "iuf":
            return f"expected {spec.words}, got {shown}: {_misfit_number(spec, value)}"
        case str() if spec.dtype == "datetime64[ns]":
            return f"expected {spec.words}, got {shown}{_misfit_time(spec, value)}"
        case str() if spec.within and spec.dtype is None:
            return f"expected {spec.words}, got {shown}: {spec.within}"
        case _:
            return f"expected {spec.words}, got {kind(value)}"


_SHOWN = 60


def _shown(value: Any) -> str:
    if isinstance(value, int) and value.bit_length() > 4 * _SHOWN:
        return f"a whole number of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _misfit_number(spec: _Scalar, value: float) -> str:
    if spec.dtype is not None and spec.dtype[0] in "iu":
        if isinstance(value, float) and not value.is_integer():
            return "it is not whole"
        if isinstance(value, float) and abs(value) >= _EXACT:
            return "write whole numbers from 2^53 on without a decimal point"
        return spec.within
    number = _as_float(value)
    if number is not None and abs(number) <= _FLOATS[64] and spec.dtype == "float64":
        return f"the nearest double is {int(number)}"
    return spec.within


def _misfit_time(spec: _Scalar, value: str) -> str:
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return ""
    if time.tzinfo is not None:
        return ": it has a time zone; send UTC without one"
    if not _FIRST <= time <= _LAST:
        return f": it is {spec.within}"
    return ": at most nine decimals of a second can be kept"


def known_dtype(dtype: str) -> bool:
    """Whether an array of this type is checked value by value."""
    return dtype in _DTYPES


def _spec_of(scalar: str) -> _Scalar:
    return _SCALARS.get(scalar) or _DTYPES[scalar]


def column_maker(scalar: str) -> Callable[[Sequence[Any]], Any]:
    """A function that turns accepted values into the data of a DataFrame column."""
    import numpy as np

    spec = _SCALARS[scalar]
    if spec.dtype is None:
        return list
    dtype = np.dtype(spec.dtype)
    if scalar == "boolean":
        return lambda values: np.array(values, object if None in values else dtype)
    return lambda values: np.array(values, dtype)


def json_type(scalar: str) -> dict[str, Any]:
    """The type in JSON Schema; anything for an unknown type."""
    return _SCALARS[scalar].json_type if scalar in _SCALARS else {}


def as_datetime(value: Any) -> datetime | None:
    """A param's datetime value, which MLflow writes as text."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def has_missing(scalar: str) -> bool:
    """Whether a column of this type can have missing values."""
    return _SCALARS[scalar].json_type != {"type": "integer"}
