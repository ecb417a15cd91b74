"""Dry run: carries an act out on a draft of the record, to show what it would append. Nothing is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import cast

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.record import Applied, Changes, OrderKey, Receipt, Record
from sluicegate.registry.ledger.selection import ALL, Selection
from sluicegate.registry.ledger.stale import refuse_stale
from sluicegate.registry.ledger.withdrawal import is_withdrawn
from sluicegate.registry.orders import connections_record
from sluicegate.registry.orders.audience_store import shares
from sluicegate.registry.orders.draft import Draft
from sluicegate.registry.words.errors import UsageError
from sluicegate.services.console.acts.rollouts import fact_json
from sluicegate.services.console.acts.table import find
from sluicegate.services.console.operations import Answer, Request
from sluicegate.services.console.ports import Desk


class TrialLedger:
    """A ledger that writes to a draft. Reads fall through to the real ledger."""

    def __init__(self, base: Ledger, now: datetime) -> None:
        self._base = base
        self.draft = Draft(base, now)
        self.rollout, self.rollouts, self.current = self.draft.rollout, self.draft.rollouts, self.draft.current
        self.models, self.takeovers = self.draft.models, self.draft.takeovers
        self.applied, self.all_applied, self.history = self.draft.applied, self.draft.all_applied, self.draft.history

    def __getattr__(self, name: str) -> object:
        if name not in _READ:
            raise UsageError(f"this call has no dry run, because it changes something at once ({name}).")
        return getattr(self._base, name)

    def count(self, selection: Selection = ALL, *, most: int | None = None) -> int:
        """How many rollouts match the selection, including those of the draft."""
        return len(self.draft.rollouts(replace(selection, newest=most)))

    def commit(self, decide: Callable[[Record], Changes], key: OrderKey | None = None) -> Receipt:  # noqa: ARG002
        """Write the decided changes to the draft."""
        changes = decide(self.draft)
        self.draft.take(changes)
        return changes.receipt

    def apply(self, document: Applied, *, over: str | None = None) -> bool:
        """Write a document to the draft."""
        refuse_stale(document, self.draft.applied(document.kind, document.name), over)
        return self.draft.apply(document)

    def withdraw(self, kind: str, name: str, *, actor: str, at: datetime) -> bool:  # noqa: ARG002
        """Write a withdrawal to the draft."""
        is_there = self.draft.applied(kind, name) is not None
        if is_there:
            self.draft.withdraw(kind, name, actor)
        return is_there


_READ = frozenset({"entries", "feed", "feed_end", "position", "looks", "last_looks", "leases", "recall"})


def _description(document: Applied) -> str:
    """A line on a document that would be written; for connections, which variation each audience would get."""
    what = f"{document.kind} {document.name}"
    if is_withdrawn(document):
        return f"{what} withdrawn"
    if document.kind != connections_record.KIND:
        return f"{what} applied"
    wanted = connections_record.read(document.body)
    rest = ", ".join(f"{part.variation} {part.weight}" for part in wanted.fallback)
    sent = [f"{each.audience.name} -> {shares(each)}" for each in wanted.ordered]
    return f"{what} applied: {'; '.join([*sent, f'all others -> {rest}'])}"


def dry_run(desk: Desk, method: str, path: str, request: Request) -> Answer:
    """What the act would answer and append. Raises what the act would raise, and UsageError if it has no dry run."""
    ledger = TrialLedger(desk.ledger, desk.clock())
    operation, names = find(desk.over(cast("Ledger", ledger)), method, path)
    if not operation.is_recorded:
        raise UsageError("sending outcomes has no dry run: they are counted when they are sent.")
    if operation.is_secret:
        raise UsageError(f"{method} {path} has no dry run: its answer is a secret.")
    status, answer = operation.run(replace(request, path=names))
    changes = ledger.draft.changes(None)
    facts = [fact_json(entry) for entry in changes.entries]
    documents = [_description(document) for document in changes.documents]
    return status, {"dry_run": True, "facts": facts, "documents": documents, "answer": answer}
