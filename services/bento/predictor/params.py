"""The params that a model's signature admits beside its input, with their defaults."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from pydantic_core import CoreSchema, SchemaValidator, ValidationError, core_schema

from .envelope import PARAMS, kind, refuse_overflow
from .problem import Problem, Unacceptable, refuse, similar
from .scalars import SCALARS, accepts, as_datetime, misfit


class Params:
    """Reads the params of a request."""

    def __init__(self, specs: Iterable[dict[str, Any]] = ()) -> None:
        self._checks: dict[str, SchemaValidator] = {}
        self._defaults: dict[str, Any] = {}
        self._scalars: dict[str, str] = {}
        for spec in specs:
            self._checks[spec["name"]] = SchemaValidator(_schema(spec))
            self._scalars[spec["name"]] = spec.get("type", "")
            default = spec.get("default")
            self._defaults[spec["name"]] = as_datetime(default) if spec.get("type") == "datetime" else default

    def read(self, given: Any, body: bytes = b"") -> dict[str, Any] | None:
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
                problems += [self._problem(name, detail) for detail in error.errors(include_url=False)]
        if problems:
            raise Unacceptable(problems)
        if any(map(_is_infinite, given.values())):
            refuse_overflow(body)
        return values or None

    def _problem(self, name: str, detail: Any) -> Problem:
        where = f"params.{name}" + "".join(f"[{number}]" for number in detail["loc"])
        scalar, value = self._scalars[name], detail["input"]
        is_single = scalar in SCALARS and detail["type"] == "kind"
        what = misfit(scalar, value) if is_single else f"{detail['msg']}, not {kind(value)}"
        return Problem(where=where, what=what, fix="Send the signature's type.")


def _is_infinite(value: Any) -> bool:
    """Whether a value, or one inside it, is beyond every number."""
    if isinstance(value, list):
        return any(map(_is_infinite, value))
    if isinstance(value, dict):
        return any(map(_is_infinite, value.values()))
    return isinstance(value, float) and math.isinf(value)


def _schema(spec: dict[str, Any]) -> CoreSchema:
    scalar = spec.get("type")
    if scalar not in SCALARS:
        return core_schema.any_schema()
    return core_schema.list_schema(accepts(scalar)) if spec.get("shape") else accepts(scalar)
