"""A fold of looks into a state, which remembers recent results. Pure as seen from outside: the looks are compared."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

from sluicegate.flows.gate.cells import Rows

QuestionT = TypeVar("QuestionT", bound=Hashable)
StateT = TypeVar("StateT")
REMEMBERED = 64


class RememberedFold(Generic[QuestionT, StateT]):
    """Folds the rows of looks, so that one more look costs one step."""

    def __init__(
        self, begin: Callable[[QuestionT, tuple[Rows, ...]], StateT], extend: Callable[[StateT, Rows], StateT]
    ) -> None:
        """`begin` gives the state before the first look, whose rows it may read; `extend` gives the state after one
        more look."""
        self._begin = begin
        self._extend = extend
        self._remembered: dict[tuple[QuestionT, tuple[Rows, ...]], tuple[tuple[Rows, ...], StateT]] = {}

    def __call__(self, question: QuestionT, rows_of_looks: Iterable[Rows]) -> StateT:
        """The state after looks with these rows."""
        looks = tuple(rows_of_looks)
        key = (question, looks[:1])
        folded, state = self._remembered.pop(key, ((), None))
        if state is None or looks[: len(folded)] != folded:
            folded, state = (), self._begin(question, looks)
        for rows in looks[len(folded) :]:
            state = self._extend(state, rows)
        self._remembered[key] = (looks, state)
        while len(self._remembered) > REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        return state
