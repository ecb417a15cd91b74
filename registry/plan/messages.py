"""What pydantic found wrong with a plan, in our own words, and which rules break besides. Pure."""

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
    """One thing that is wrong, by its path."""

    at: Path
    message: str
    fix: str | None
    on_value: bool = True
    """Whether the value is wrong, rather than the key."""
    meant: str | None = None
    """The key or the word that was probably meant."""


def explain(error: ValidationError, root: type[BaseModel] = Plan) -> tuple[Wrong, ...]:
    """Every error, once for each path; `root` is what could not be read."""
    found: dict[Path, Wrong] = {}
    for details in error.errors(include_url=False):
        for wrong in _wrong(details, root):
            found.setdefault(wrong.at, wrong)
    return tuple(found.values())


def amended(values: dict[str, Any], fields: Iterable[Wrong], context: Context) -> tuple[Wrong, ...]:
    """The rules that break once the fields are what was probably meant, or left out; so that all is said at once."""
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
"""A key that was put right may hold a value that is wrong, and so on."""


def is_rule(error: ValidationError) -> bool:
    """Whether every field can be read, so that rules alone are broken, all of which it tells."""
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
"""Something valid for what may not be left out; rules that touch it are not reported."""


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
    said = message[:1].lower() + message[1:] if kind != "value_error" else message
    return [Wrong(at=at, message=said, fix=fix or ("write true or false" if kind.startswith("bool") else None))]


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
    """The keys that are known at a path."""
    found = _type_at(root, at)
    return list(found.model_fields) if isinstance(found, type) and issubclass(found, BaseModel) else []


def _words_at(root: type[BaseModel], at: Path) -> list[str]:
    """The words that are possible at a path."""
    found = _type_at(root, at)
    if isinstance(found, type) and issubclass(found, Enum):
        return [str(member.value) for member in found]
    return [str(word) for word in typing.get_args(found)]


def _type_at(root: type[BaseModel], at: Path) -> Any:
    """The type of what stands at a path of a document."""
    found: Any = root
    for part in at:
        found = _bare(found)
        if isinstance(found, type) and issubclass(found, BaseModel):
            field = found.model_fields.get(str(part))
            found = field.annotation if field else None
        else:
            arguments = [each for each in typing.get_args(found) if each is not Ellipsis]
            found = arguments[-1] if arguments else None
    return _bare(found)


def _bare(found: Any) -> Any:
    """A type without Annotated and without None."""
    if typing.get_origin(found) is typing.Annotated:
        return _bare(typing.get_args(found)[0])
    if typing.get_origin(found) in (typing.Union, types.UnionType):
        return _bare(next((each for each in typing.get_args(found) if each is not types.NoneType), None))
    return found
