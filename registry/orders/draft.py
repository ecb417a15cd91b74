"""Draft: the record as it would be once an order is carried out, and what has to be recorded for that.

A draft lives inside one decision: it reads the record, which does not change meanwhile, and changes nothing.
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
    """A record to which nothing has been added yet."""

    def __init__(self, record: Record, now: datetime, readiness: Readiness = NOBODY_LOOKED) -> None:
        self.now = utc(now)
        self.readiness = readiness
        """What was noted of the builds' services."""
        self._record = record
        self._states: dict[str, Rollout] = {}
        self._entries: list[Entry] = []
        self._documents: list[Applied] = []

    def rollout(self, rollout: str) -> Rollout:
        """The state of a rollout. Raises NotFound."""
        return self._states.get(rollout) or self._record.rollout(rollout)

    def current(self, model: str | None = None) -> tuple[Rollout, ...]:
        """The rollouts on which something rests, oldest first; also those on which nothing rests any more by this."""
        known = [self._states.get(rollout.id, rollout) for rollout in self._record.current(model)]
        there = {rollout.id for rollout in known}
        drafted = (state for state in self._states.values() if state.id not in there)
        return (*known, *(state for state in drafted if model in (None, state.requested.model)))

    def rollouts(self, selection: Selection = ALL) -> tuple[Rollout, ...]:
        """Those of all rollouts that are wanted, oldest first."""
        known = [self._states.get(rollout.id, rollout) for rollout in self._record.rollouts(selection)]
        there = {rollout.id for rollout in known}
        return selection.cut((*known, *(state for state in self._states.values() if state.id not in there)))

    def target(self, model: str, variation: str) -> list[Rollout]:
        """The rollouts of one target on which something rests, oldest first."""
        return [rollout for rollout in self.current(model) if rollout.requested.variation == variation]

    def models(self) -> tuple[str, ...]:
        """Every model that has a rollout, by name."""
        return tuple(sorted({*self._record.models(), *(state.requested.model for state in self._states.values())}))

    def takeovers(self, model: str, variation: str) -> tuple[Takeover, ...]:
        """Every build that a target came to trust, oldest first."""
        known = (each for each in self._record.takeovers(model, variation) if each.rollout not in self._states)
        drafted = takeovers(state for state in self._states.values() if state.target == (model, variation))
        return tuple(sorted((*known, *drafted), key=lambda each: each.at))

    def applied(self, kind: str, name: str) -> Applied | None:
        """The document of this kind and name that counts."""
        drafted = [document for document in self._documents if (document.kind, document.name) == (kind, name)]
        if drafted:
            return None if is_withdrawn(drafted[-1]) else drafted[-1]
        return self._record.applied(kind, name)

    def all_applied(self, kind: str) -> Sequence[Applied]:
        """The documents of this kind that count, by name."""
        known = {document.name: document for document in self._record.all_applied(kind)}
        known |= {document.name: document for document in self._documents if document.kind == kind}
        return [known[name] for name in sorted(known) if not is_withdrawn(known[name])]

    def history(self, kind: str, name: str) -> Sequence[Applied]:
        """Every document of this kind and name, oldest first."""
        drafted = (document for document in self._documents if (document.kind, document.name) == (kind, name))
        return [*self._record.history(kind, name), *drafted]

    def is_new(self, rollout: str) -> bool:
        """Whether the rollout was opened here."""
        return any(entry.seq == 0 and entry.rollout == rollout for entry in self._entries)

    def open(self, rollout: str, requested: Requested) -> Rollout:
        """Begin a new rollout with its first fact."""
        entry = Entry(rollout=rollout, seq=0, at=self.now, fact=requested)
        return self._take(entry, begin(entry))

    def append(self, rollout: str, fact: Fact) -> Rollout:
        """Add a fact. Raises IllegalMove where the phase does not admit it, TargetBusy where another has the target."""
        before = self.rollout(rollout)
        entry = Entry(rollout=rollout, seq=before.seq + 1, at=self.now, fact=fact)
        after = advance(before, entry)
        refuse_busy(after, self.target(*after.target))
        return self._take(entry, after)

    def apply(self, document: Applied) -> bool:
        """Record a document; False when the one that counts says the same."""
        latest = self.applied(document.kind, document.name)
        if latest is not None and latest.digest == document.digest:
            return False
        self._documents.append(document)
        return True

    def withdraw(self, kind: str, name: str, actor: str) -> None:
        """Let a document count no longer."""
        self._documents.append(withdrawn(kind, name, actor, self.now))

    def changes(self, rollout: str | None, *, created: bool = False) -> Changes:
        """What has to be recorded, with the receipt of an order about this rollout."""
        changed = bool(self._entries or self._documents)
        receipt = Receipt(rollout=rollout, changed=changed, created=created)
        return Changes(entries=tuple(self._entries), documents=tuple(self._documents), receipt=receipt)

    def take(self, changes: Changes) -> None:
        """Add what another decision came to."""
        for entry in changes.entries:
            self._take(entry, begin(entry) if entry.seq == 0 else advance(self.rollout(entry.rollout), entry))
        self._documents.extend(changes.documents)

    def _take(self, entry: Entry, state: Rollout) -> Rollout:
        self._states[entry.rollout] = state
        self._entries.append(entry)
        return state
