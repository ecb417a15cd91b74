"""A document that was made from one that counts no longer is refused: of two writers one reads again."""

from __future__ import annotations

from sluicegate.registry.ledger.record import Applied
from sluicegate.registry.words.errors import LedgerConflict


def refuse_stale(document: Applied, latest: Applied | None, over: str | None) -> None:
    """Raise LedgerConflict unless the latest has the digest `over`; empty: there is none; None: whichever it is."""
    if over is not None and over != (latest.digest if latest is not None else ""):
        raise LedgerConflict(
            f"{document.kind} {document.name} was changed by somebody else meanwhile.",
            fix="read it again, then decide.",
        )
