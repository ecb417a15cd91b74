"""Pydantic's errors about a plan in our own words, and the rules that are broken as well. Pure."""

from __future__ import annotations

import copy
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sluicegate.registry.plan.plan import Context, Plan
from sluicegate.registry.plan.rules import BrokenRules
from sluicegate.registry.words.suggestions import suggestion

Path = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """One problem, by its path."""

    at: Path
    message: str
    fix: str | None
    on_value: bool = True
    """Whether the value is wrong rather than the key."""
    meant: str | None = None
    """The key or value that was probably meant."""


def explain(error: ValidationError, root: type[BaseModel] = Plan) -> tuple[Wrong, ...]:
    """One problem for each path. `root` is the class that could not be read."""
    by_path: dict[Path, Wrong] = {}
    for details in error.errors(include_url=False):
        for wrong in _wrong(details, root):
            by_path.setdefault(wrong.at, wrong)
    return tuple(by_path.values())


def remaining_faults(values: dict[str, Any], fields: Iterable[Wrong], context: Context) -> tuple[Wrong, ...]:
    """The rules that are still broken once each field is corrected or left out, so that one run reports everything."""
    fixed, wrongs, doubtful = copy.deepcopy(values), tuple(fields), list[Path]()
    for _ in range(ROUNDS):
        doubtful += [wrong.at for wrong in wrongs]
        for wrong in wrongs:
            _amend(fixed, wrong)
        try:
            Plan.model_validate(fixed, context=context)
        except ValidationError as error:
            wrongs = explain(error)
            if is_rule(error):
                return tuple(wrong for wrong in wrongs if not any(_touch(wrong.at, path) for path in doubtful))
        else:
            return ()
    return ()


ROUNDS = 4
"""How often fields are corrected. A corrected key may hold a wrong value, and so on."""


def is_rule(error: ValidationError) -> bool:
    """Whether every field could be read, so that the error lists all broken rules."""
    return any(isinstance(each.get("ctx", {}).get("error"), BrokenRules) for each in error.errors(include_url=False))


def _touch(left: Path, right: Path) -> bool:
    shorter = min(len(left), len(right))
    return left[:shorter] == right[:shorter]


def _amend(values: Any, wrong: Wrong) -> None:
    *way, last = wrong.at or ("",)
    holder = values
    try:
        for part in way:
            holder = holder[part]
        value = holder.pop(last, None) if isinstance(holder, dict) else holder.pop(int(last))
    except (KeyError, IndexError, TypeError, AttributeError):
        return
    if wrong.meant is not None and not wrong.on_value:
        holder.setdefault(wrong.meant, value)
    elif wrong.meant is not None:
        holder[last] = wrong.meant
    elif last in _STAND_INS:
        holder[last] = _STAND_INS[last]


_STAND_INS: dict[str | int, object] = {
    "after": "366d", "margin": "5%", "max_time": "366d", "metric": "", "model": "model",
    "requests_per_day": 1, "source": "status", "steps": [{"weight": 1}], "weight": 1,
}  # fmt: skip
"""Valid values for required fields that are wrong. Rules that involve them are not reported."""


def _wrong(details: ErrorDetails, root: type[BaseModel]) -> list[Wrong]:
    at, kind, given = tuple(details["loc"]), details["type"], details["input"]
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, BrokenRules):
        return [Wrong(at=rule.at, message=rule.message, fix=rule.fix) for rule in cause.broken]
    if kind == "extra_forbidden":
        known = _model_at(root, at[:-1])
        fix = suggestion(str(at[-1]), known)
        return [Wrong(at=at, message=f"unknown key {at[-1]}", fix=fix, on_value=False, meant=_meant(fix))]
    if kind == "missing":
        return [Wrong(at=at, message=f"{at[-1]} is missing", fix=f"write {at[-1]}: …", on_value=False)]
    if kind in ("enum", "literal_error"):
        known = [str(word) for word in _words_at(root, at)]
        fix = suggestion(str(given), known)
        return [Wrong(at=at, message=f"{given!r} is not allowed here", fix=fix, meant=_meant(fix))]
    if at and at[-1] == "[key]":
        return [Wrong(at=at[:-1], message=f"{given!r} is not a valid name", fix=_METRIC_NAME, on_value=False)]
    if kind == "string_pattern_mismatch":
        return [Wrong(at=at, message=f"{given!r} is not a valid name", fix=_NAMES.get(at[-1]))]
    if kind == "model_type":
        keys = ", ".join(_model_at(root, at))
        return [Wrong(at=at, message=f"{given!r} must be a mapping of keys to values", fix=f"known keys are {keys}")]
    message, _, fix = details["msg"].removeprefix("Value error, ").partition("; ")
    text = message[:1].lower() + message[1:] if kind != "value_error" else message
    return [Wrong(at=at, message=text, fix=fix or ("write true or false" if kind.startswith("bool") else None))]


_NAMES: dict[str | int, str] = {
    "model": "write at most 200 characters, without / and : (MLflow) and \\ (gateways read it as /)",
    "variation": "write lower-case letters, digits, . and -, at most 36",
    "name": "write lower-case letters, digits and -, at most 40",
    "unit": "write the name of a request header, such as x-user-id",
}
_METRIC_NAME = "start with a letter; then letters, digits, _, . and -, at most 40"


def _meant(fix: str) -> str | None:
    return fix.removeprefix("did you mean ").removesuffix("?") if fix.startswith("did you mean") else None


def _model_at(root: type[BaseModel], at: Path) -> list[str]:
    """The keys that exist at a path."""
    form = _type_at(root, at)
    return list(form.model_fields) if isinstance(form, type) and issubclass(form, BaseModel) else []


def _words_at(root: type[BaseModel], at: Path) -> list[str]:
    """The values that are allowed at a path."""
    form = _type_at(root, at)
    if isinstance(form, type) and issubclass(form, Enum):
        return [str(member.value) for member in form]
    return [str(word) for word in typing.get_args(form)]


def _type_at(root: type[BaseModel], at: Path) -> Any:
    """The type of the value at a path of a document."""
    form: Any = root
    for part in at:
        form = _bare(form)
        if isinstance(form, type) and issubclass(form, BaseModel):
            field = form.model_fields.get(str(part))
            form = field.annotation if field else None
        else:
            arguments = [each for each in typing.get_args(form) if each is not Ellipsis]
            form = arguments[-1] if arguments else None
    return _bare(form)


def _bare(form: Any) -> Any:
    """A type without Annotated and None."""
    if typing.get_origin(form) is typing.Annotated:
        return _bare(typing.get_args(form)[0])
    if typing.get_origin(form) in (typing.Union, types.UnionType):
        return _bare(next((each for each in typing.get_args(form) if each is not types.NoneType), None))
    return form
