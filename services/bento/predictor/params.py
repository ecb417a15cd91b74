"""The params that a model's signature admits beside its input, with their defaults."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic_core import CoreSchema, SchemaValidator, ValidationError, core_schema

from .envelope import PARAMS, kind
from .problem import Problem, Unacceptable, refuse, similar
from .scalars import SCALARS, accepts, as_datetime


class Params:
    """Reads the params of a request."""

    def __init__(self, specs: Iterable[dict[str, Any]] = ()) -> None:
        self._checks: dict[str, SchemaValidator] = {}
        self._defaults: dict[str, Any] = {}
        for spec in specs:
            self._checks[spec["name"]] = SchemaValidator(_schema(spec))
            default = spec.get("default")
            self._defaults[spec["name"]] = as_datetime(default) if spec.get("type") == "datetime" else default

    def read(self, given: Any) -> dict[str, Any] | None:
        """Defaults overlaid with what was given; None for a model without params. Raises Unacceptable."""
        if given is None:
            return dict(self._defaults) or None
        if not isinstance(given, dict):
            raise refuse(PARAMS, f"an object belongs here, not {kind(given)}", 'Send {"name": value}, or leave it out.')
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
                what = f"{error.errors(include_url=False)[0]['msg']}, not {kind(value)}"
                problems.append(Problem(where=f"params.{name}", what=what, fix="Send the signature's type."))
        if problems:
            raise Unacceptable(problems)
        return values or None


def _schema(spec: dict[str, Any]) -> CoreSchema:
    scalar = spec.get("type")
    if scalar not in SCALARS:
        return core_schema.any_schema()
    return core_schema.list_schema(accepts(scalar)) if spec.get("shape") else accepts(scalar)
