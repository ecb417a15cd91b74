"""MLflow's nested types (arrays, objects, maps) in columns and params: the JSON they accept and its Python values.

They become lists, dicts and built-in values, whatever the payload. Single values follow the rules of plain columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from .scalars import SCALARS, accepts

NESTED = frozenset({"array", "object", "map", "any"})


def nested_schema(spec: dict[str, Any], *, required: bool) -> CoreSchema:
    """The pydantic schema for a value of a type, from the type's JSON in a signature."""
    may_lack = not required
    schema: CoreSchema
    match spec["type"]:
        case "any":
            return core_schema.any_schema()
        case "array":
            schema = core_schema.list_schema(_item(spec["items"], required=required))
            may_lack |= spec["items"]["type"] == "any"
        case "map":
            schema = core_schema.dict_schema(values_schema=nested_schema(spec["values"], required=required))
            may_lack |= spec["values"]["type"] == "any"
        case "object":
            fields = {name: _field(each) for name, each in spec["properties"].items()}
            schema = core_schema.typed_dict_schema(fields, extra_behavior="forbid")
            if may_lack:
                schema = core_schema.no_info_wrap_validator_function(_or_empty, schema)
        case scalar:
            schema = core_schema.no_info_before_validator_function(_presence(scalar), _single(scalar))
    return core_schema.nullable_schema(schema) if may_lack else schema


def _field(spec: dict[str, Any]) -> core_schema.TypedDictField:
    required = bool(spec.get("required", True))
    return core_schema.typed_dict_field(nested_schema(spec, required=required), required=required)


def _item(spec: dict[str, Any], *, required: bool) -> CoreSchema:
    """The schema of a list's item. A single value may be missing where a column's may."""
    return _single(spec["type"]) if spec["type"] in SCALARS else nested_schema(spec, required=required)


def _single(scalar: str) -> CoreSchema:
    turn = {"double": _double, "float": _float, "datetime": _time}.get(scalar)
    return accepts(scalar) if turn is None else core_schema.no_info_after_validator_function(turn, accepts(scalar))


def _double(value: float | None) -> float:
    return math.nan if value is None else value


def _float(value: float | None) -> float:
    import numpy as np

    return float(np.float32(_double(value)))


def _time(value: Any) -> Any:
    import pandas as pd

    return pd.Timestamp(value) if value is not None else pd.NaT


def _or_empty(value: Any, check: Callable[[Any], Any]) -> Any:
    """Accept an empty object where an object may be missing, as MLflow does."""
    return value if value == {} else check(value)


def _presence(scalar: str) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if value is None:
            raise PydanticCustomError("kind", "missing", {"scalar": scalar})
        return value

    return check
