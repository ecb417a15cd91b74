"""Dry run: an act carried out on a copy of the record, to tell what it would append. Nothing is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sluicegate.registry.ledger.memory import MemoryLedger
from sluicegate.registry.ledger.port import Applied, Ledger
from sluicegate.registry.ledger.withdrawal import is_withdrawn
from sluicegate.registry.orders import connections_record
from sluicegate.registry.orders.audience_store import shares
from sluicegate.registry.words.errors import UsageError
from sluicegate.registry.words.verdict import Look
from sluicegate.services.console.acts.rollouts import fact_json
from sluicegate.services.console.acts.table import find
from sluicegate.services.console.operations import Answer, Request
from sluicegate.services.console.ports import Desk


class CopiedLedger(MemoryLedger):
    """The facts of a ledger, copied; its documents, looks and notes read through until they are written over."""

    def __init__(self, base: Ledger) -> None:
        super().__init__()
        self._base = base
        place = 0
        while found := base.feed(after=place, limit=5000):
            for fed in found:
                self._keep(fed.entry)
            place = found[-1].place
        self.copied = self.feed_end()
        """The place after which everything is new."""

    def all_applied(self, kind: str) -> Sequence[Applied]:
        known = {document.name: document for document in self._base.all_applied(kind)}
        known |= {document.name: document for document in self._documents if document.kind == kind}
        return [known[name] for name in sorted(known) if not is_withdrawn(known[name])]

    def written(self) -> list[str]:
        """The documents that were applied or withdrawn."""
        return [_told(document) for document in self._documents]

    def looks(self, rollout: str, metric: str | None = None) -> tuple[Look, ...]:
        return self._base.looks(rollout, metric)

    def recall(self, key: str) -> dict[str, object] | None:
        return super().recall(key) or self._base.recall(key)


def _told(document: Applied) -> str:
    """What would be written; of a model's traffic, who would get what from then on."""
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
    """What the act would answer and append. Raises what the act would raise, and UsageError where it cannot be told."""
    ledger = CopiedLedger(desk.ledger)
    operation, names = find(desk.over(ledger), method, path)
    if not operation.is_recorded:
        raise UsageError("outcomes cannot be tried: they are counted when they are sent.")
    if operation.is_secret:
        raise UsageError(f"{method} {path} cannot be tried: its answer is the secret itself.")
    status, answer = operation.run(replace(request, path=names))
    facts = [fact_json(fed.entry) for fed in ledger.feed(after=ledger.copied)]
    return status, {"dry_run": True, "facts": facts, "documents": ledger.written(), "answer": answer}
