"""Typed notes: small values that a process stores under a key, next to the facts."""

from __future__ import annotations

from functools import cache
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from sluicegate.registry.ledger.port import Notes

T = TypeVar("T")


class Note(Generic[T]):
    """A value under one key. A value that another version wrote and this one cannot read counts as missing."""

    def __init__(self, key: str, kind: type[T]) -> None:
        self._key = key
        self._kind: Any = kind

    def read(self, notes: Notes) -> T | None:
        """The stored value; None if there is none."""
        stored = notes.recall(self._key)
        try:
            return None if stored is None else _adapter(self._kind).validate_python(stored)
        except ValidationError:
            return None

    def keep(self, notes: Notes, value: T) -> None:
        """Store a value in place of the previous one."""
        notes.remember(self._key, _adapter(self._kind).dump_python(value, mode="json"))


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
