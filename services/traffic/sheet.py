"""Sheet: a route table and the builds that run, as text for a gateway on another host. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum

from sluicegate.registry.audience.audience import AllOf, AnyOf, Match, Not, Operator, Present, Range
from sluicegate.registry.words.access_log import Assigned
from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.errors import UsageError
from sluicegate.registry.words.fencing import FencingToken
from sluicegate.registry.words.metric import Arm
from sluicegate.services.traffic.table import (
    AudienceRoute,
    Mirror,
    ModelRoute,
    Named,
    RouteTable,
    Slice,
    StandsIn,
    Target,
)

_KINDS: Mapping[str, type] = {
    kind.__name__: kind
    for kind in (
        RouteTable, ModelRoute, AudienceRoute, Slice, Target, StandsIn, Mirror, Named, Assigned, BuildRef, FencingToken,
        AllOf, AnyOf, Match, Not, Present, Range,
    )
}  # fmt: skip
_WORDS: Mapping[str, type[Enum]] = {"Arm": Arm, "Operator": Operator}
_KIND, _WORD = "is", "word"


def write_sheet(table: RouteTable, builds: Collection[BuildRef]) -> str:
    """The text of a table and of the builds that run."""
    running = sorted(builds, key=str)
    return json.dumps({"version": table.version, "table": _plain(table), "builds": [_plain(each) for each in running]})


def read_sheet(text: str) -> tuple[RouteTable, tuple[BuildRef, ...]]:
    """The table and the builds that run. Raises UsageError if the text is damaged or of another version."""
    try:
        document = json.loads(text)
        table, builds = _whole(document["table"]), tuple(_whole(each) for each in document["builds"])
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"the routes cannot be read: {error}.", fix=_FIX) from None
    if not isinstance(table, RouteTable) or table.version != document["version"]:
        raise UsageError("the routes are not those that were sent.", fix=_FIX)
    return table, tuple(each for each in builds if isinstance(each, BuildRef))


_FIX = "install the same version of Sluicegate on both hosts."


def _plain(value: object) -> object:
    if is_dataclass(value):
        values = {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
        return {_KIND: type(value).__name__, **values}
    if isinstance(value, Enum):
        return {_WORD: type(value).__name__, "value": value.value}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a {type(value).__name__} cannot travel")


def _whole(document: object) -> object:
    if isinstance(document, list):
        return tuple(_whole(each) for each in document)
    if not isinstance(document, dict):
        return document
    if _WORD in document:
        return _WORDS[document[_WORD]](document["value"])
    return _KINDS[document[_KIND]](**{name: _whole(each) for name, each in document.items() if name != _KIND})
