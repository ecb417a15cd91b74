"""Accumulator: collects values by key during one transaction, and computes each key's tally once. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import Generic, TypeVar

from sluicegate.registry.words.tally import Tally

KeyT = TypeVar("KeyT")


class Accumulator(Generic[KeyT]):
    """Values and tallies by key."""

    def __init__(self) -> None:
        self._values: defaultdict[KeyT, list[float | None]] = defaultdict(list)
        self._tallies: defaultdict[KeyT, Tally] = defaultdict(Tally)

    def __bool__(self) -> bool:
        return bool(self._values or self._tallies)

    def take(self, key: KeyT, value: float | None) -> None:
        """Add one value; None is missing."""
        self._values[key].append(value)

    def add(self, key: KeyT, tally: Tally) -> None:
        """Add a tally."""
        self._tallies[key] += tally

    def tallies(self) -> dict[KeyT, Tally]:
        """The tally of every key."""
        gathered = {key: Tally.from_values(values) for key, values in self._values.items()}
        return gathered | {key: tally + gathered.get(key, Tally()) for key, tally in self._tallies.items()}
