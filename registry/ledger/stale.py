"""Refuses a document that is based on an outdated one, so that of two writers one must read again."""

from __future__ import annotations

from sluicegate.registry.ledger.record import Applied
from sluicegate.registry.words.errors import LedgerConflict


def refuse_stale(document: Applied, latest: Applied | None, over: str | None) -> None:
    """Raise LedgerConflict unless the latest document has the digest `over`; empty: there is none; None: any."""
    if over is not None and over != (latest.digest if latest is not None else ""):
        raise LedgerConflict(
            f"{document.kind} {document.name} was changed by somebody else meanwhile.",
            fix="read it again, then decide.",
        )
