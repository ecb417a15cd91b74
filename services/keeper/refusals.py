"""A note for people about routes that the data plane refused. It stays until a table is in force again."""

from __future__ import annotations

from datetime import datetime

from sluicegate.registry.ledger.port import Ledger

_KEY = "routes refused"


def note_refusal(ledger: Ledger, reason: str | None, at: datetime) -> None:
    """Note why the routes were refused; None: they are in force again."""
    ledger.remember(_KEY, {} if reason is None else {"reason": reason, "at": at.isoformat(timespec="seconds")})


def refusal(ledger: Ledger) -> str | None:
    """Why the ledger's routes are refused, and since when; None if they are not."""
    note = ledger.recall(_KEY)
    return f"{note['reason']} (since {note['at']})" if note else None
