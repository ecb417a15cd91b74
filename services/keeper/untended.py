"""Rollouts that the keeper cannot judge, for people to see: one that fails keeps no other from being judged."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sluicegate.registry.ledger.port import Notes

_KEY = "untended"


def note_untended(notes: Notes, reasons: Mapping[str, str], now: datetime) -> None:
    """Keep why each of these rollouts cannot be judged, and since when, in place of what was kept before."""
    before = notes.recall(_KEY) or {}
    after: dict[str, object] = {
        rollout: _since(before.get(rollout), reason, now) for rollout, reason in reasons.items()
    }
    if after != before:
        notes.remember(_KEY, after)


def untended(notes: Notes) -> dict[str, str]:
    """Why rollouts cannot be judged, and since when, by rollout."""
    kept = notes.recall(_KEY) or {}
    notes_by_rollout = {rollout: note for rollout, note in kept.items() if isinstance(note, dict)}
    return {rollout: f"{note['reason']} (since {note['at']})" for rollout, note in notes_by_rollout.items()}


def _since(before: object, reason: str, now: datetime) -> dict[str, str]:
    known = before.get("at") if isinstance(before, dict) and before.get("reason") == reason else None
    return {"reason": reason, "at": known or now.isoformat(timespec="seconds")}
