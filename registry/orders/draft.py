"""Draft: the record as it would be after an order, and the changes that lead there.

A draft belongs to one decision. It reads the record, which does not change meanwhile, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sluicegate.registry.ledger.folds import refuse_busy
from sluicegate.registry.ledger.record import Applied, Changes, Receipt, Record
from sluicegate.registry.ledger.selection import ALL, Selection
from sluicegate.registry.ledger.times import utc
from sluicegate.registry.ledger.withdrawal import is_withdrawn, withdrawn
from sluicegate.registry.rollout.facts import Entry, Fact, Requested
from sluicegate.registry.rollout.moves import advance, begin
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.rollout.standing import Takeover, takeovers
from sluicegate.registry.words.readiness import NOBODY_LOOKED, Readiness


class Draft:
    """A record with changes that are not recorded yet."""

    def __init__(self, record: Record, now: datetime, readiness: Readiness = NOBODY_LOOKED) -> None:
        self.now = utc(now)
        self.readiness = readiness
        """The noted state of the builds' services."""
        self._record = record
        self._states: dict[str, Rollout] = {}
        self._entries: list[Entry] = []
        self._documents: list[Applied] = []

    def rollout(self, rollout: str) -> Rollout:
        """The state of a rollout. Raises NotFound."""
        return self._states.get(rollout) or self._record.rollout(rollout)

    def current(self, model: str | None = None) -> tuple[Rollout, ...]:
        """The rollouts on which something depends, oldest first, including those that the draft makes past."""
        recorded = [self._states.get(rollout.id, rollout) for rollout in self._record.current(model)]
        recorded_ids = {rollout.id for rollout in recorded}
        drafted = (state for state in self._states.values() if state.id not in recorded_ids)
        return (*recorded, *(state for state in drafted if model in (None, state.requested.model)))

    def rollouts(self, selection: Selection = ALL) -> tuple[Rollout, ...]:
        """The rollouts that the selection admits, oldest first."""
        recorded = [self._states.get(rollout.id, rollout) for rollout in self._record.rollouts(selection)]
        recorded_ids = {rollout.id for rollout in recorded}
        return selection.cut((*recorded, *(state for state in self._states.values() if state.id not in recorded_ids)))

    def target(self, model: str, variation: str) -> list[Rollout]:
        """The current rollouts of one target, oldest first."""
        return [rollout for rollout in self.current(model) if rollout.requested.variation == variation]

    def models(self) -> tuple[str, ...]:
        """Every model that has a rollout, by name."""
        return tuple(sorted({*self._record.models(), *(state.requested.model for state in self._states.values())}))

    def takeovers(self, model: str, variation: str) -> tuple[Takeover, ...]:
        """Every build that a target began to trust, oldest first."""
        recorded = (each for each in self._record.takeovers(model, variation) if each.rollout not in self._states)
        drafted = takeovers(state for state in self._states.values() if state.target == (model, variation))
        return tuple(sorted((*recorded, *drafted), key=lambda each: each.at))

    def applied(self, kind: str, name: str) -> Applied | None:
        """The document of this kind and name that is in force."""
        drafted = [document for document in self._documents if (document.kind, document.name) == (kind, name)]
        if drafted:
            return None if is_withdrawn(drafted[-1]) else drafted[-1]
        return self._record.applied(kind, name)

    def all_applied(self, kind: str) -> Sequence[Applied]:
        """The documents of this kind that are in force, sorted by name."""
        by_name = {document.name: document for document in self._record.all_applied(kind)}
        by_name |= {document.name: document for document in self._documents if document.kind == kind}
        return [by_name[name] for name in sorted(by_name) if not is_withdrawn(by_name[name])]

    def history(self, kind: str, name: str) -> Sequence[Applied]:
        """Every document of this kind and name, oldest first."""
        drafted = (document for document in self._documents if (document.kind, document.name) == (kind, name))
        return [*self._record.history(kind, name), *drafted]

    def is_new(self, rollout: str) -> bool:
        """Whether the draft opens this rollout."""
        return any(entry.seq == 0 and entry.rollout == rollout for entry in self._entries)

    def open(self, rollout: str, requested: Requested) -> Rollout:
        """Begin a new rollout with its first fact."""
        entry = Entry(rollout=rollout, seq=0, at=self.now, fact=requested)
        return self._take(entry, begin(entry))

    def append(self, rollout: str, fact: Fact) -> Rollout:
        """Add a fact. Raises IllegalMove if the phase forbids it, TargetBusy if another rollout holds the target."""
        before = self.rollout(rollout)
        entry = Entry(rollout=rollout, seq=before.seq + 1, at=self.now, fact=fact)
        after = advance(before, entry)
        refuse_busy(after, self.target(*after.target))
        return self._take(entry, after)

    def apply(self, document: Applied) -> bool:
        """Record a document. Returns False if the one in force is the same."""
        latest = self.applied(document.kind, document.name)
        if latest is not None and latest.digest == document.digest:
            return False
        self._documents.append(document)
        return True

    def withdraw(self, kind: str, name: str, actor: str) -> None:
        """Take a document out of force."""
        self._documents.append(withdrawn(kind, name, actor, self.now))

    def changes(self, rollout: str | None, *, created: bool = False) -> Changes:
        """Everything to be recorded, with the receipt of an order about this rollout."""
        changed = bool(self._entries or self._documents)
        receipt = Receipt(rollout=rollout, changed=changed, created=created)
        return Changes(entries=tuple(self._entries), documents=tuple(self._documents), receipt=receipt)

    def take(self, changes: Changes) -> None:
        """Add the changes of another decision."""
        for entry in changes.entries:
            self._take(entry, begin(entry) if entry.seq == 0 else advance(self.rollout(entry.rollout), entry))
        self._documents.extend(changes.documents)

    def _take(self, entry: Entry, state: Rollout) -> Rollout:
        self._states[entry.rollout] = state
        self._entries.append(entry)
        return state
