"""Input for a model whose signature is one array or several named ones, and for a model without a signature."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic_core import SchemaValidator, ValidationError, core_schema

from .envelope import kind, open_envelope, refuse_overflow, split_columns
from .params import Params
from .problem import Problem, Unacceptable, refuse, similar
from .scalars import accepts, fault, known_dtype, place


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One array of the signature. -1 in the shape stands for any length."""

    name: str | None
    dtype: str
    shape: tuple[int, ...]


class Tensors:
    """Reads requests for a model that takes arrays."""

    def __init__(self, specs: Iterable[TensorSpec], params: Params) -> None:
        self._specs = tuple(specs)
        self._params = params
        self._checks = {spec.name: _check(spec) for spec in self._specs}

    def read(self, body: bytes) -> tuple[Any, dict[str, Any] | None]:
        """The array, or the arrays by name, and the params. Raises Unacceptable."""
        format_, value, given = open_envelope(body)
        is_table = format_ in ("dataframe_split", "dataframe_records")
        if is_table:
            value = _cells(format_, value)
        params = self._params.read(given, body)
        if self._specs[0].name is None:
            if is_table and isinstance(value, list):
                value = _in_shape(_bare_rows(value), self._specs[0].shape)
            data: Any = self._array(self._specs[0], value, format_)
            _refuse_overflow((data,), body)
            return data, params
        named = _by_name(value)
        if is_table and isinstance(named, dict):
            shapes = {str(spec.name): spec.shape for spec in self._specs}
            named = {name: _in_shape(cells, shapes.get(name, ())) for name, cells in named.items()}
        data = self._named(named, format_)
        _refuse_overflow(data.values(), body)
        return data, params

    def _named(self, value: Any, format_: str) -> dict[str, Any]:
        names = [str(spec.name) for spec in self._specs]
        if not isinstance(value, dict) and len(names) == 1:
            value = {names[0]: value}
        if not isinstance(value, dict):
            fix = f"Send an object of arrays named {', '.join(map(repr, names))}."
            raise refuse(format_, f"expected named arrays, got {kind(value)}", fix)
        problems = [
            Problem(where=f"{format_}.{name}", what="unknown array", fix=similar(name, names))
            for name in value
            if name not in names
        ]
        problems += [
            Problem(where=f"{format_}.{name}", what="missing array", fix=f"Add {name!r}.")
            for name in names
            if name not in value
        ]
        if problems:
            raise Unacceptable(problems)
        return {str(spec.name): self._array(spec, value[spec.name], f"{format_}.{spec.name}") for spec in self._specs}

    def _array(self, spec: TensorSpec, value: Any, where: str) -> Any:
        """The array, each value of the declared type."""
        import numpy as np

        value = _bare_rows(value)
        check = self._checks[spec.name]
        try:
            array = np.array(value if check is None else check.validate_python(value), spec.dtype)
        except ValidationError as error:
            _require_shape(spec, _ndarray(value, where), where)
            raise Unacceptable(_wrong(detail, where) for detail in error.errors(include_url=False)) from None
        except (ValueError, TypeError) as error:
            raise refuse(where, f"not an array: {error}", "Send nested lists of equal lengths.") from None
        if array.size == 0:
            raise refuse(where, "no values", "Send at least one row.")
        _require_shape(spec, array, where)
        return array


def _require_shape(spec: TensorSpec, array: Any, where: str) -> None:
    """Raise Unacceptable if an array's shape differs from the signature's."""
    if len(array.shape) != len(spec.shape) or any(
        want not in (-1, have) for want, have in zip(spec.shape, array.shape, strict=True)
    ):
        what = f"expected the shape {list(spec.shape)}, got {list(array.shape)}"
        raise refuse(where, what, "Send nested lists of that shape; -1 means any length.")


class Untyped:
    """Reads requests for a model without a signature. Tables become DataFrames, other objects named arrays, and
    everything else an array."""

    def __init__(self, params: Params) -> None:
        import pandas as pd

        self._pandas = pd
        self._params = params

    def read(self, body: bytes) -> tuple[Any, dict[str, Any] | None]:
        """The DataFrame or array and the params. Raises Unacceptable."""
        format_, value, given = open_envelope(body)
        params = self._params.read(given, body)
        if format_ == "dataframe_split":
            columns, rows, index = split_columns(value)
            return self._frame(format_, rows, columns=columns, index=index), params
        if format_ == "dataframe_records" and not _is_rows(value):
            raise refuse(format_, "expected a list of objects", "Send one object for each row.")
        if _is_table(value):
            return self._frame(format_, value), params
        if isinstance(value, dict):
            return {name: _ndarray(each, f"{format_}.{name}") for name, each in value.items()}, params
        if value is None:
            raise refuse(format_, "nothing to predict from", "Send at least one row.")
        return _ndarray(value, format_), params

    def _frame(self, format_: str, data: Any, **labels: Any) -> Any:
        if not data or not isinstance(data, list | dict):
            raise refuse(format_, "no rows", "Send at least one row.")
        try:
            return self._pandas.DataFrame(data, **labels)
        except (ValueError, TypeError, AttributeError) as error:
            raise refuse(format_, f"not a table: {error}", "Send a list of objects with the same keys.") from None


def _is_table(value: Any) -> bool:
    if isinstance(value, dict):
        columns = list(value.values())
        is_flat = all(isinstance(cells, list) and not any(isinstance(c, list) for c in cells) for cells in columns)
        return is_flat and len({len(cells) for cells in columns}) <= 1
    return _is_rows(value)


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _cells(format_: str, value: Any) -> Any:
    """The rows of a table: by name if it has names, otherwise as a list of lists."""
    if format_ == "dataframe_split":
        columns, rows, _ = split_columns(value)
        return rows if columns is None else [dict(zip(map(str, columns), row, strict=True)) for row in rows]
    return value


def _bare_rows(value: Any) -> Any:
    """Rows of named values as rows of values."""
    return list(map(list, zip(*_by_name(value).values(), strict=True))) if _is_rows(value) else value


def _in_shape(cells: Any, shape: tuple[int, ...]) -> Any:
    """Arrange a table's rows of single values in the signature's shape, as MLflow's server does."""
    inner = shape[1:]
    if shape[:1] != (-1,) or any(length < 0 for length in inner) or not isinstance(cells, list):
        return cells
    rows = [_values_of(row) for row in cells]
    if any(row is None or len(row) != math.prod(inner) for row in rows):
        return cells
    return [_nested(row, inner) for row in rows if row is not None]


def _values_of(row: Any) -> list[Any] | None:
    """The single values of a row, or of the one list in it; None if lists are nested deeper."""
    values = row if isinstance(row, list) else [row]
    if len(values) == 1 and isinstance(values[0], list):
        (values,) = values
    return None if any(isinstance(each, list) for each in values) else values


def _nested(values: list[Any], shape: tuple[int, ...]) -> Any:
    """The values as nested lists with these lengths."""
    if not shape:
        return values[0]
    size = math.prod(shape[1:])
    return [_nested(values[start : start + size], shape[1:]) for start in range(0, shape[0] * size, size)]


def _by_name(value: Any) -> Any:
    """Rows of named values as named lists, in the order of the first row."""
    if not _is_rows(value):
        return value
    names = list(value[0])
    if any(row.keys() != value[0].keys() for row in value):
        raise refuse("body", "rows with different keys", "Give every row the same keys.")
    return {name: [row[name] for row in value] for name in names}


def _check(spec: TensorSpec) -> SchemaValidator | None:
    """A validator for nested lists of the signature's depth; None for dtypes that hold anything."""
    if not known_dtype(spec.dtype):
        return None
    schema = accepts(spec.dtype)
    for _ in spec.shape:
        schema = core_schema.list_schema(schema)
    return SchemaValidator(schema)


def _refuse_overflow(arrays: Iterable[Any], body: bytes) -> None:
    import numpy as np

    if any(array.dtype.kind == "f" and bool(np.isinf(array).any()) for array in arrays):
        refuse_overflow(body)


def _wrong(detail: Any, where: str) -> Problem:
    return Problem(where=where + place(detail["loc"]), what=fault(detail), fix="Send values of that type.")


def _ndarray(value: Any, where: str) -> Any:
    import numpy as np

    try:
        array = np.array(value)
        if array.dtype == object and all(
            isinstance(cell, int | float | None) and not isinstance(cell, bool) for cell in array.ravel()
        ):
            array = array.astype(np.float64)
    except (ValueError, TypeError) as error:
        raise refuse(where, f"not an array: {error}", "Send nested lists of equal lengths.") from None
    if array.size == 0:
        raise refuse(where, "no values", "Send at least one row.")
    return array
