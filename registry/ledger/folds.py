"""Folds: the state of every rollout, kept up to date entry by entry. Not safe for threads: adapters lock."""

from __future__ import annotations

from collections.abc import Iterable

from sluicegate.registry.rollout.facts import Entry
from sluicegate.registry.rollout.moves import advance, begin
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import LedgerConflict, NotFound, TargetBusy


class Folds:
    """States by rollout id, oldest first."""

    def __init__(self) -> None:
        self._states: dict[str, Rollout] = {}

    def take(self, entry: Entry) -> Rollout:
        """Move the entry's rollout on. Raises IllegalMove and changes nothing where the state does not admit it."""
        state = self.after(entry)
        self._states[entry.rollout] = state
        return state

    def after(self, entry: Entry) -> Rollout:
        """What `take` would make of the entry."""
        return begin(entry) if entry.seq == 0 else advance(self.get(entry.rollout), entry)

    def moves(self, entries: Iterable[Entry]) -> list[tuple[Entry, Rollout | None, Rollout]]:
        """Each entry with the state before and after it; the folds stay as they are. Raises as `take` does."""
        states: dict[str, Rollout] = {}
        moves: list[tuple[Entry, Rollout | None, Rollout]] = []
        for entry in entries:
            before = None if entry.seq == 0 else states.get(entry.rollout) or self.get(entry.rollout)
            after = begin(entry) if before is None else advance(before, entry)
            states[entry.rollout] = after
            moves.append((entry, before, after))
        return moves

    def get(self, rollout: str) -> Rollout:
        """The state of a rollout. Raises NotFound."""
        try:
            return self._states[rollout]
        except KeyError:
            raise NotFound(f"there is no rollout {rollout!r}.", fix="see sluice rollout list.") from None

    def all(self, model: str | None) -> tuple[Rollout, ...]:
        """Every state, or those of one model, oldest first."""
        return tuple(state for state in self._states.values() if model in (None, state.requested.model))

    def expect(self, rollout: str, expected: int) -> None:
        """Raise LedgerConflict unless `expected` is the seq of the rollout's next fact."""
        state = self.get(rollout)
        if state.seq + 1 != expected:
            raise LedgerConflict(
                f"rollout {rollout} is at seq {state.seq}: its next fact is {state.seq + 1}, not {expected}.",
                fix="read the rollout again, then decide.",
            )

    def refuse_busy(self, state: Rollout) -> None:
        """Raise TargetBusy when `state` takes a target that another rollout holds."""
        refuse_busy(state, self._states.values())


def refuse_busy(state: Rollout, others: Iterable[Rollout]) -> None:
    """Raise TargetBusy when `state` takes a target that another of these rollouts holds."""
    same_target = (other for other in others if other.id != state.id and other.target == state.target)
    holder = next((other for other in same_target if other.holds_target), None) if state.holds_target else None
    if holder is not None:
        raise TargetBusy(
            f"{'/'.join(state.target)} is held by rollout {holder.id} ({holder.phase}): {state.id} cannot begin.",
            fix=f"wait until it ends, or end it: sluice rollout abort {holder.id}",
        )


def taken(rollout: str) -> LedgerConflict:
    """The error for an id that is in use."""
    return LedgerConflict(f"rollout {rollout} exists already.", fix="read it, or choose another id.")
