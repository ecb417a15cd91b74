"""The params that a model's signature accepts besides its input, with their defaults."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic_core import CoreSchema, SchemaValidator, ValidationError, core_schema

from .envelope import PARAMS, is_infinite, kind, refuse_overflow
from .nested import NESTED, nested_schema
from .problem import Problem, Unacceptable, refuse, similar
from .scalars import accepts, as_datetime, fault, place


class Params:
    """Reads the params of a request."""

    def __init__(self, specs: Iterable[dict[str, Any]] = ()) -> None:
        self._checks: dict[str, SchemaValidator] = {}
        self._defaults: dict[str, Any] = {}
        for spec in specs:
            self._checks[spec["name"]] = SchemaValidator(_schema(spec))
            default = spec.get("default")
            self._defaults[spec["name"]] = as_datetime(default) if spec.get("type") == "datetime" else default

    def read(self, given: Any, body: bytes = b"") -> dict[str, Any] | None:
        """The given params with defaults for the others; None for a model without params. Raises Unacceptable."""
        if given is None:
            return dict(self._defaults) or None
        if not isinstance(given, dict):
            raise refuse(PARAMS, f"expected an object, got {kind(given)}", 'Send {"name": value}, or leave it out.')
        problems: list[Problem] = []
        values = dict(self._defaults)
        for name, value in given.items():
            check = self._checks.get(name)
            if check is None:
                problems.append(Problem(where=f"params.{name}", what="unknown", fix=similar(name, self._checks)))
                continue
            try:
                values[name] = check.validate_python(value)
            except ValidationError as error:
                problems += [_problem(name, detail) for detail in error.errors(include_url=False)]
        if problems:
            raise Unacceptable(problems)
        if is_infinite(given):
            refuse_overflow(body)
        return values or None


def _problem(name: str, detail: Any) -> Problem:
    return Problem(where=f"params.{name}{place(detail['loc'])}", what=fault(detail), fix="Send the signature's type.")


_PARAM_TIME = core_schema.union_schema(
    [core_schema.datetime_schema(tz_constraint="naive", microseconds_precision="error"), accepts("datetime")],
    mode="left_to_right", custom_error_type="kind", custom_error_message="no time",
    custom_error_context={"scalar": "datetime"},
)  # fmt: skip
"""Python's full range, from year 1 to 9999, because params have no limit by a column's nanoseconds."""


def _schema(spec: dict[str, Any]) -> CoreSchema:
    """The schema of one param. It may be null; then the model decides, not the default."""
    scalar = spec.get("type", "any")
    if scalar in NESTED:
        return nested_schema(spec, required=False)
    value = core_schema.nullable_schema(_PARAM_TIME if scalar == "datetime" else accepts(scalar))
    return core_schema.list_schema(value) if spec.get("shape") else value
