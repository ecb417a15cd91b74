"""Sheet: a route table and the builds that run, as text for a gateway on another host. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.errors import UsageError
from sluicegate.services.traffic.table import RouteTable


@dataclass(frozen=True, kw_only=True)
class _Sheet:
    version: str
    table: RouteTable
    builds: tuple[BuildRef, ...]


_SHEET = TypeAdapter(_Sheet)
_FIX = "install the same version of Sluicegate on both hosts."


def write_sheet(table: RouteTable, builds: Collection[BuildRef]) -> str:
    """The text of a table and of the builds that run."""
    sheet = _Sheet(version=table.version, table=table, builds=tuple(sorted(builds, key=str)))
    return _SHEET.dump_json(sheet, by_alias=True).decode()


def read_sheet(text: str) -> tuple[RouteTable, tuple[BuildRef, ...]]:
    """The table and the builds that run. Raises UsageError if the text is damaged or of another version."""
    try:
        sheet = _SHEET.validate_json(text, strict=True)
    except ValidationError as error:
        raise UsageError(f"the routes cannot be read: {error.errors()[0]['msg']}.", fix=_FIX) from None
    if sheet.table.version != sheet.version:
        raise UsageError("the routes are not those that were sent.", fix=_FIX)
    return sheet.table, sheet.builds
