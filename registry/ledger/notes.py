"""Notes with a type: what a process keeps beside the facts under a key, as a value rather than as JSON."""

from __future__ import annotations

from functools import cache
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from sluicegate.registry.ledger.port import Notes

T = TypeVar("T")


class Note(Generic[T]):
    """A value under one key. What another version wrote and this one does not understand counts as nothing."""

    def __init__(self, key: str, kind: type[T]) -> None:
        self._key = key
        self._kind: Any = kind

    def read(self, notes: Notes) -> T | None:
        """What was kept last."""
        known = notes.recall(self._key)
        try:
            return None if known is None else _adapter(self._kind).validate_python(known)
        except ValidationError:
            return None

    def keep(self, notes: Notes, value: T) -> None:
        """Keep a value in place of the one before."""
        notes.remember(self._key, _adapter(self._kind).dump_python(value, mode="json"))


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
