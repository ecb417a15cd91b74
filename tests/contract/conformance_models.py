"""Models of every type that MLflow's signatures know, and what a value of such a type becomes by our own rules."""

from __future__ import annotations

import base64
import binascii
import math
import re
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import AnyType, Array, DataType, Map, Object, Property

from tests.contract.scoring_servers import told

SCALARS = ("boolean", "integer", "long", "float", "double", "string", "binary", "datetime")
DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
    "datetime64[ns]", "str",
)  # fmt: skip
DEFAULTS: dict[str, Any] = {
    "boolean": True, "integer": 1, "long": 1, "float": 0.5, "double": 0.5, "string": "x",
    "datetime": np.datetime64("2026-01-31T12:00:00"),
}  # fmt: skip
_OBJECT = Object([Property("a", DataType.long), Property("b", DataType.string, required=False)])


def _columns(*specs: ColSpec, **options: Any) -> ModelSignature:
    return ModelSignature(Schema(list(specs)), **options)


def _tensor(dtype: str, shape: tuple[int, ...], name: str | None = None) -> TensorSpec:
    return TensorSpec(np.dtype(dtype), shape, name)


MODELS: dict[str, ModelSignature | None] = {
    **{name: _columns(ColSpec(name, "v")) for name in SCALARS},
    **{f"optional {name}": _columns(ColSpec("long", "n"), ColSpec(name, "v", required=False)) for name in SCALARS},
    **{f"beside {name}": _columns(ColSpec(name, "v"), ColSpec(Array(DataType.double), "w")) for name in SCALARS},
    **{f"array {name}": _columns(ColSpec(Array(DataType[name]), "v")) for name in SCALARS},
    **{f"tensor {name}": ModelSignature(Schema([_tensor(name, (-1,))])) for name in DTYPES},
    **{f"param {name}": _columns(ColSpec("long", "n"), params=ParamSchema([ParamSpec("v", name, default)]))
       for name, default in DEFAULTS.items()},
    "param list": _columns(ColSpec("long", "n"), params=ParamSchema([ParamSpec("v", "long", [1], (-1,))])),
    "param object": _columns(ColSpec("long", "n"), params=ParamSchema([ParamSpec("v", _OBJECT, {"a": 1})])),
    "arrays in arrays": _columns(ColSpec(Array(Array(DataType.double)), "v")),
    "object": _columns(ColSpec(_OBJECT, "v")),
    "optional object": _columns(ColSpec("long", "n"), ColSpec(_OBJECT, "v", required=False)),
    "map": _columns(ColSpec(Map(DataType.double), "v")),
    "map of arrays": _columns(ColSpec(Map(Array(DataType.long)), "v")),
    "array of objects": _columns(ColSpec(Array(_OBJECT), "v")),
    "anything": _columns(ColSpec(AnyType(), "v")),
    "without names": _columns(ColSpec("double"), ColSpec("string")),
    "images": ModelSignature(Schema([_tensor("uint8", (-1, 2, 2))])),
    "matrix": ModelSignature(Schema([_tensor("float64", (-1, 2))])),
    "fixed": ModelSignature(Schema([_tensor("float64", (2, 2))])),
    "ragged": ModelSignature(Schema([_tensor("float64", (-1, -1))])),
    "named tensors": ModelSignature(Schema([_tensor("float64", (-1,), "a"), _tensor("int64", (-1, 2), "b")])),
    "tensor bytes": ModelSignature(Schema([_tensor("bytes", (-1,))])),
    "tensor object": ModelSignature(Schema([_tensor("object", (-1,))])),
    "no signature": None,
}  # fmt: skip

_WHOLE = {"integer": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)} | {
    f"{sign}int{bits}": ((0, 2**bits - 1) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1))
    for sign in ("", "u")
    for bits in (8, 16, 32, 64)
}
_FLOATS: dict[str, Any] = {
    "double": np.float64, "float64": np.float64, "float": np.float32, "float32": np.float32, "float16": np.float16,
}  # fmt: skip
_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?)?")
_ZONE = re.compile(r".*\d(?:Z|[+-]\d\d:\d\d)")


class Unfit(Exception):
    """A value that its declared type does not take, and which listed difference from MLflow that is."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def arrives(scalar: str, literal: str, value: Any) -> Any:
    """What a model is given for a JSON value in a place of this type. Raises Unfit."""
    if scalar in _WHOLE:
        return told(_whole(scalar, value))
    if scalar in _FLOATS:
        return told(_float(scalar, literal, value))
    if value is None:
        return _missing(scalar)
    match scalar, value:
        case (("boolean" | "bool"), bool()):
            return told(value)
        case "str", str() if value.endswith("\0"):
            raise Unfit("nul")
        case (("string" | "str"), str()):
            return told(value)
        case "binary", str():
            return told(_bytes(value))
        case (("datetime" | "datetime64[ns]"), str()):
            return told(_time(value))
        case _:
            raise Unfit("kind")


def _missing(scalar: str) -> Any:
    match scalar:
        case "boolean" | "string" | "binary":
            return told(None)
        case "datetime" | "datetime64[ns]":
            return told(pd.NaT)
        case _:
            raise Unfit("missing")


def _whole(scalar: str, value: Any) -> int:
    if value is None:
        raise Unfit("missing")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unfit("kind")
    low, high = _WHOLE[scalar]
    if isinstance(value, float) and not (value.is_integer() and abs(value) < 2**53):
        raise Unfit("narrowed")
    if not low <= value <= high:
        raise Unfit("narrowed")
    return int(value)


def _float(scalar: str, literal: str, value: Any) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unfit("kind")
    most = float(np.finfo(_FLOATS[scalar]).max)
    is_named = literal.lstrip("-") in ("Infinity", "NaN")
    if isinstance(value, int) and (value.bit_length() > 1024 or not _is_exact(scalar, value)):
        raise Unfit("narrowed")
    if not is_named and abs(value) > most:
        raise Unfit("narrowed")
    with np.errstate(over="ignore"):
        return float(_FLOATS[scalar](value))


def _is_exact(scalar: str, value: int) -> bool:
    """Whether a double is this whole number, or is written so by JavaScript; smaller floats round by their nature."""
    return scalar not in ("double", "float64") or int(float(value)) == value or Decimal(repr(float(value))) == value


def _bytes(value: str) -> bytes:
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Unfit("base64") from None


def _time(value: str) -> pd.Timestamp:
    if _ZONE.fullmatch(value):
        raise Unfit("zone")
    if not _TIME.fullmatch(value):
        raise Unfit("date")
    try:
        return pd.Timestamp(value).as_unit("ns")
    except (ValueError, OverflowError):
        raise Unfit("narrowed") from None
