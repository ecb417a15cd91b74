"""Times in the ledger: aware, in UTC, written as ISO 8601 with microseconds."""

from __future__ import annotations

from datetime import UTC, datetime


def utc(at: datetime) -> datetime:
    """The same moment in UTC. A time without a zone is a programming error."""
    if at.tzinfo is None:
        raise ValueError(f"a time without a zone cannot be recorded: {at!r}")
    return at.astimezone(UTC)


def to_text(at: datetime) -> str:
    """The stored form. These texts sort in the order of their times."""
    return utc(at).isoformat(timespec="microseconds")


def from_text(text: str) -> datetime:
    return datetime.fromisoformat(text)
