"""Folding looks into a state, remembering the last folds. Pure as seen from outside: the looks are compared."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

from sluicegate.registry.words.metric import TallyRow

Rows = tuple[TallyRow, ...]
AskedT = TypeVar("AskedT", bound=Hashable)
StateT = TypeVar("StateT")
REMEMBERED = 64


class Folds(Generic[AskedT, StateT]):
    """Folds the rows of looks, so that one more look costs one step."""

    def __init__(
        self, begin: Callable[[AskedT, tuple[Rows, ...]], StateT], extend: Callable[[StateT, Rows], StateT]
    ) -> None:
        """`begin` gives the state before the first look, whose rows it may see; `extend` that after one more."""
        self._begin = begin
        self._extend = extend
        self._known: dict[tuple[AskedT, tuple[Rows, ...]], tuple[tuple[Rows, ...], StateT]] = {}

    def fold(self, asked: AskedT, looks: Iterable[Rows]) -> StateT:
        """The state after looks with these rows."""
        told = tuple(looks)
        key = (asked, told[:1])
        found = self._known.pop(key, None)
        if found is None or told[: len(found[0])] != found[0]:
            found = ((), self._begin(asked, told))
        known, state = found
        for rows in told[len(known) :]:
            state = self._extend(state, rows)
        self._known[key] = (told, state)
        while len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
        return state
