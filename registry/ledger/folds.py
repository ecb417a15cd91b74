"""Folds: the states of rollouts, kept up to date entry by entry. Not thread-safe: adapters lock.

All current rollouts are included, and of the past ones only those read recently, so that a long past costs nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping

from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.rollout.facts import Entry
from sluicegate.registry.rollout.moves import advance, begin
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.rollout.standing import is_served, past
from sluicegate.registry.words.errors import LedgerConflict, NotFound, TargetBusy

LATELY = 500
"""How many past rollouts are kept."""


class Folds:
    """States by rollout id, each with the place of its first fact, which orders them."""

    def __init__(self, lately: int | None = LATELY) -> None:
        self._lately = lately
        self._states: dict[str, Rollout] = {}
        self._places: dict[str, int] = {}
        self._current: dict[str, set[str]] = {}
        """Ids by model."""
        self._served: list[str] = []
        """Models that have a build in service, by name."""
        self._past: OrderedDict[str, None] = OrderedDict()
        """Ids; the one that was read last is at the end."""

    def __contains__(self, rollout: str) -> bool:
        return rollout in self._states

    def put(self, states: Mapping[int, Rollout]) -> None:
        """Add states by the place of their first fact. Only then decide which rollouts are past."""
        for place, state in states.items():
            self._states[state.id], self._places[state.id] = state, place
            self._current.setdefault(state.requested.model, set()).add(state.id)
            self._past.pop(state.id, None)
        for model in {state.requested.model for state in states.values()}:
            self._separate_past(self._current[model])
            self._list_served(model)
        while self._lately is not None and len(self._past) > self._lately:
            name, _ = self._past.popitem(last=False)
            del self._states[name], self._places[name]

    def _separate_past(self, current: set[str]) -> None:
        for name in past([self._states[name] for name in self._in_order(current)]):
            current.remove(name)
            self._past[name] = None

    def _list_served(self, model: str) -> None:
        """Put the model into the list of those in service, or take it out, as its current states say."""
        place = bisect_left(self._served, model)
        after = place + (self._served[place : place + 1] == [model])
        is_listed = is_served(self._states[name] for name in self._current[model])
        self._served[place:after] = [model] if is_listed else []

    def take(self, entry: Entry, place: int) -> Rollout:
        """Apply an entry to its rollout; `place` is the entry's. Raises IllegalMove if the rollout forbids it."""
        before, state = self._states.get(entry.rollout), self.after(entry)
        self.put({self._places.get(entry.rollout, place): state})
        if before is not None and lost_target(before, state):
            self._revive(state.requested.model)
        return state

    def after(self, entry: Entry) -> Rollout:
        """The state that `take` would produce."""
        return begin(entry) if entry.seq == 0 else advance(self.get(entry.rollout), entry)

    def moves(self, entries: Iterable[Entry]) -> list[Rollout]:
        """The state after each entry, without changing the folds. Raises as `take` does."""
        states: dict[str, Rollout] = {}
        moves: list[Rollout] = []
        for entry in entries:
            before = None if entry.seq == 0 else states.get(entry.rollout) or self.get(entry.rollout)
            after = begin(entry) if before is None else advance(before, entry)
            states[entry.rollout] = after
            moves.append(after)
        return moves

    def get(self, rollout: str) -> Rollout:
        """The state of a rollout in the folds. Raises NotFound."""
        if rollout not in self._states:
            raise NotFound(f"there is no rollout {rollout!r}.", fix="list the rollouts: sluice rollout list")
        if rollout in self._past:
            self._past.move_to_end(rollout)
        return self._states[rollout]

    def current(self, model: str | None) -> tuple[Rollout, ...]:
        """Every current state, or those of one model, oldest first."""
        return self.current_of(self._current if model is None else [model])

    def current_of(self, models: Collection[str]) -> tuple[Rollout, ...]:
        """Every current state of these models, oldest first."""
        groups = (self._current.get(model, ()) for model in set(models))
        return tuple(self._states[name] for name in self._in_order(name for group in groups for name in group))

    def served_models(self) -> tuple[str, ...]:
        """The models that have a build in service, by name."""
        return tuple(self._served)

    def select(self, selection: Selection) -> tuple[Rollout, ...]:
        """The states in the folds that the selection admits, oldest first. Raises NotFound as a selection does."""
        selection.refuse_unknown(is_known=selection.before in self._states)
        return selection.cut(self._states[name] for name in self._in_order(self._states))

    def expect(self, rollout: str, expected: int) -> None:
        """Raise LedgerConflict unless `expected` is the seq of the rollout's next fact."""
        state = self.get(rollout)
        if state.seq + 1 != expected:
            raise LedgerConflict(
                f"rollout {rollout} was changed meanwhile: its next fact has number {state.seq + 1}, not {expected}.",
                fix="read the rollout again, then decide.",
            )

    def refuse_busy(self, state: Rollout) -> None:
        """Raise TargetBusy if `state` takes a target that another rollout holds."""
        refuse_busy(state, self.current(state.requested.model))

    def _revive(self, model: str) -> None:
        """Make past rollouts of a model current again where the one that replaced them lost its target."""
        of_model = (name for name in self._past if self._states[name].requested.model == model)
        self.put({self._places[name]: self._states[name] for name in of_model})

    def _in_order(self, names: Iterable[str]) -> list[str]:
        return sorted(names, key=self._places.__getitem__)


def lost_target(before: Rollout, after: Rollout) -> bool:
    """Whether a candidate that had taken over its target lost it again, by an abort during the bake."""
    return before.took_over and not after.took_over


def refuse_busy(state: Rollout, others: Iterable[Rollout]) -> None:
    """Raise TargetBusy if `state` takes a target that another of these rollouts holds."""
    same_target = (other for other in others if other.id != state.id and other.target == state.target)
    holder = next((other for other in same_target if other.holds_target), None) if state.holds_target else None
    if holder is not None:
        raise TargetBusy(
            f"{state.id} cannot begin: rollout {holder.id} of {'/'.join(state.target)} has not ended ({holder.phase}).",
            fix=f"wait until it ends, or end it: sluice rollout abort {holder.id}",
        )


def id_taken(rollout: str) -> LedgerConflict:
    """The error for an id that is already in use."""
    return LedgerConflict(f"rollout {rollout} exists already.", fix="read it, or choose another id.")
