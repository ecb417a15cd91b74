"""Rollouts that the keeper cannot judge, for people to see: one that fails keeps no other from being judged."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sluicegate.registry.ledger.port import Notes
from sluicegate.registry.words.sight import Blindness

_KEY = "untended"


def note_untended(notes: Notes, reasons: Mapping[str, str], now: datetime) -> None:
    """Keep why each of these rollouts cannot be judged, and since when, in place of what was kept before."""
    before = notes.recall(_KEY) or {}
    after: dict[str, object] = {rollout: _since(before.get(rollout), why, now) for rollout, why in reasons.items()}
    if after != before:
        notes.remember(_KEY, after)


def untended(notes: Notes) -> dict[str, Blindness]:
    """Why rollouts cannot be judged, and since when, by rollout."""
    kept = notes.recall(_KEY) or {}
    return {rollout: _read(note) for rollout, note in kept.items() if isinstance(note, dict)}


def _read(note: Mapping[str, object]) -> Blindness:
    reason = f"the keeper cannot judge it: {note['reason']}"
    return Blindness(since=datetime.fromisoformat(str(note["at"])), reason=reason)


def _since(before: object, reason: str, now: datetime) -> dict[str, str]:
    """Since the first reason in a row, whatever it was."""
    known = before.get("at") if isinstance(before, dict) else None
    return {"reason": reason, "at": known or now.isoformat(timespec="seconds")}
