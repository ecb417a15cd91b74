"""Input for a model with columns in its signature: reads JSON in one pass into a DataFrame of exactly these types."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import CoreSchema, SchemaValidator, ValidationError, core_schema

from .envelope import PARAMS, is_infinite, kind, open_envelope, refuse_overflow, split_columns
from .nested import nested_schema
from .params import Params
from .problem import Problem, Unacceptable, refuse, similar
from .scalars import accepts, column_maker, fault, has_missing, place

_ROWS = ("inputs", "dataframe_records", "instances")
_NO_ROWS = "Send at least one row."


@dataclass(frozen=True, kw_only=True)
class ColumnSpec:
    """One column of the signature."""

    name: str
    scalar: str
    required: bool = True
    position: int | None = None
    """For a signature without names: the column's label in the DataFrame."""
    nested: dict[str, Any] | None = None
    """The signature's description of an array, an object, a map or anything; None for a single value."""

    @property
    def label(self) -> str | int:
        return self.name if self.position is None else self.position

    def schema(self, *, quick: bool = False) -> CoreSchema:
        """The pydantic schema of one value. `quick`: accepts only its plain values."""
        if self.nested is not None:
            return nested_schema(self.nested, required=self.required)
        return accepts(self.scalar, quick=quick)


class Columns:
    """Reads requests for a model that takes a table."""

    def __init__(self, specs: Iterable[ColumnSpec], params: Params) -> None:
        import pandas as pd

        self._pandas = pd
        self._specs = {spec.name: spec for spec in specs}
        self._params = params
        self._make = {
            name: column_maker(spec.scalar) if spec.nested is None else list for name, spec in self._specs.items()
        }
        self._nested = frozenset(spec.scalar for spec in self._specs.values() if spec.nested is not None)
        self._rows = SchemaValidator(self._rows_schema(quick=False))
        rows = self._rows_schema(quick=True)
        fields = {key: core_schema.typed_dict_field(rows, required=False) for key in _ROWS}
        fields[PARAMS] = core_schema.typed_dict_field(core_schema.any_schema(), required=False)
        self._whole = SchemaValidator(core_schema.typed_dict_schema(fields, extra_behavior="forbid"))
        self._columns = {
            name: SchemaValidator(core_schema.list_schema(spec.schema())) for name, spec in self._specs.items()
        }

    def _rows_schema(self, *, quick: bool) -> CoreSchema:
        fields = {
            spec.name: core_schema.typed_dict_field(spec.schema(quick=quick), required=spec.required)
            for spec in self._specs.values()
        }
        return core_schema.list_schema(core_schema.typed_dict_schema(fields, extra_behavior="forbid"), min_length=1)

    def read(self, body: bytes) -> tuple[Any, dict[str, Any] | None]:
        """The DataFrame and the params. Raises Unacceptable."""
        try:
            document = self._whole.validate_json(body)
        except ValidationError:
            return self._read_slowly(body)
        given = document.pop(PARAMS, None)
        if len(document) != 1 or self._nested:
            return self._read_slowly(body)
        (rows,) = document.values()
        return self._frame(self._by_column(rows)), self._params.read(given, body)

    def _read_slowly(self, body: bytes) -> tuple[Any, dict[str, Any] | None]:
        """Read every other format, and report every mistake with its place."""
        format_, value, given = open_envelope(body)
        index = None
        if format_ == "dataframe_split":
            names, rows, index = split_columns(value)
            columns = self._checked(self._named(names, rows), "dataframe_split.{}")
        elif isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            if self._is_by_position(value[0]) and all(row.keys() == value[0].keys() for row in value):
                value = [dict(zip(self._specs, (row[name] for name in value[0]), strict=True)) for row in value]
            columns = self._by_column(self._checked_rows(value, format_), format_)
        else:
            columns = self._checked(self._other(value, format_), format_ + ".{}")
        if is_infinite(columns):
            refuse_overflow(body)
        return self._frame(columns, index), self._params.read(given, body)

    def _checked_rows(self, rows: list[Any], format_: str) -> list[dict[str, Any]]:
        try:
            checked: list[dict[str, Any]] = self._rows.validate_python(rows)
        except ValidationError as error:
            raise Unacceptable(self._problem(detail, format_) for detail in error.errors(include_url=False)) from None
        return checked

    def _problem(self, detail: Any, format_: str) -> Problem:
        where, steps = format_ + place(detail["loc"]), detail["loc"][1:]
        if len(steps) == 1 and detail["type"] == "missing":
            return Problem(where=where, what="missing column", fix=f"Add {steps[0]!r} to every row.")
        if len(steps) == 1 and detail["type"] == "extra_forbidden":
            return Problem(where=where, what="unknown column", fix=similar(str(steps[0]), self._specs))
        return _wrong(where, detail)

    def _by_column(self, rows: list[dict[str, Any]], format_: str = "inputs") -> dict[str, list[Any]]:
        columns: dict[str, list[Any]] = {}
        for name, spec in self._specs.items():
            if spec.required:
                columns[name] = [row[name] for row in rows]
            elif any(name in row for row in rows):
                columns[name] = [row.get(name) for row in rows]
                if spec.nested is None and not has_missing(spec.scalar) and any(name not in row for row in rows):
                    number = next(number for number, row in enumerate(rows) if name not in row)
                    what = (
                        "missing in this row, but not in every row: a column of whole numbers cannot have "
                        "missing values"
                    )
                    raise refuse(f"{format_}[{number}].{name}", what, f"Give {name!r} in every row, or in none.")
        return columns

    def _named(self, names: list[Any] | None, rows: list[list[Any]]) -> dict[str, list[Any]]:
        """Columns by name; without names, in the order of the signature."""
        if not rows:
            raise refuse("dataframe_split.data", "no rows", _NO_ROWS)
        names_in_order = (
            list(self._specs) if names is None or self._is_by_position(names) else [str(name) for name in names]
        )
        for number, row in enumerate(rows):
            if len(row) != len(names_in_order):
                what = f"{len(row)} values for the columns {', '.join(map(repr, names_in_order))}"
                raise refuse(f"data[{number}]", what, "Name the columns, or give one value for each.")
        return dict(zip(names_in_order, map(list, zip(*rows, strict=True)), strict=True))

    def _is_by_position(self, names: Collection[Any]) -> bool:
        """Whether these names stand for the columns of a signature without names, in order."""
        return len(names) == len(self._specs) and all(spec.position is not None for spec in self._specs.values())

    def _other(self, value: Any, format_: str) -> dict[str, list[Any]]:
        """Columns from an object of lists, an object for one row, or a bare list for a single column.

        If a column is an array or an object, an object is one row and a bare list one array, as in MLflow.
        """
        match value:
            case {} if value and self._nested & {"array", "object"}:
                return {str(name): [cell] for name, cell in value.items()}
            case [*cells] if cells and self._nested == {"array"} and len(self._specs) == 1:
                return {next(iter(self._specs)): [cells]}
            case {} if value and all(isinstance(cells, list) for cells in value.values()):
                return {str(name): cells for name, cells in value.items()}
            case {} if value and not any(isinstance(cells, list | dict) for cells in value.values()):
                return {str(name): [cell] for name, cell in value.items()}
            case [] | {}:
                raise refuse(format_, "no rows" if not value else "columns and single values are mixed", _NO_ROWS)
            case [*rows] if all(isinstance(row, list) for row in rows):
                return self._named(None, rows)
            case [*cells] if len(self._specs) == 1 and not any(isinstance(cell, list | dict) for cell in cells):
                return {next(iter(self._specs)): cells}
            case _:
                what = f"expected rows, got {kind(value)}" if not isinstance(value, list) else "not a list of rows"
                raise refuse(format_, what, f"Send a list of objects with {', '.join(map(repr, self._specs))}.")

    def _checked(self, columns: Mapping[str, list[Any]], where: str) -> dict[str, list[Any]]:
        problems = [
            Problem(where=where.format(name), what="unknown column", fix=similar(name, self._specs))
            for name in columns
            if name not in self._specs
        ]
        checked: dict[str, list[Any]] = {}
        for name, spec in self._specs.items():
            if name in columns:
                try:
                    checked[name] = self._columns[name].validate_python(columns[name])
                except ValidationError as error:
                    details = error.errors(include_url=False)
                    problems += [_wrong(where.format(name) + place(detail["loc"]), detail) for detail in details]
            elif spec.required:
                problems.append(Problem(where=where.format(name), what="missing column", fix=f"Add {name!r}."))
        lengths = {len(cells) for cells in checked.values()}
        if len(lengths) > 1:
            what = "columns of different lengths"
            problems.append(Problem(where="body", what=what, fix="Give every column one value for each row."))
        if lengths == {0}:
            problems.append(Problem(where="body", what="no rows", fix=_NO_ROWS))
        if problems:
            raise Unacceptable(problems)
        return checked

    def _frame(self, columns: Mapping[str, list[Any]], index: Any = None) -> Any:
        arrays = {self._specs[name].label: self._make[name](cells) for name, cells in columns.items()}
        return self._pandas.DataFrame(arrays, index=index)


def _wrong(where: str, detail: Any) -> Problem:
    return Problem(where=where, what=fault(detail), fix="Send the signature's type.")
