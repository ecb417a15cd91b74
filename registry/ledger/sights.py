"""The note of what is counted, beside the facts: the keeper writes it all the time, who judges or shows reads it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sluicegate.registry.ledger.port import Notes
from sluicegate.registry.ledger.untended import untended
from sluicegate.registry.words.sight import Blindness, Listener, Sight, Sights

_KEY = "sights"


def note_sights(notes: Notes, sights: Mapping[Listener, Sight], now: datetime) -> None:
    """Note these in place of those before."""
    notes.remember(_KEY, {"at": now.isoformat()} | {listener.value: _note(sight) for listener, sight in sights.items()})


def sights(notes: Notes) -> Sights:
    """What is noted, of rollouts that cannot be judged too."""
    note, unjudged = notes.recall(_KEY), untended(notes)
    if note is None:
        return Sights(unjudged=unjudged)
    noted = {listener: _read(note[listener.value]) for listener in Listener if listener.value in note}
    return Sights(noted_at=datetime.fromisoformat(str(note["at"])), noted=noted, unjudged=unjudged)


def _note(sight: Sight) -> dict[str, object]:
    figures: dict[str, object] = {"served": sight.served, "uncounted": sight.uncounted}
    blind = sight.blind
    return figures if blind is None else figures | {"since": blind.since.isoformat(), "reason": blind.reason}


def _read(note: object) -> Sight:
    known = note if isinstance(note, dict) else {}
    blind = None
    if "since" in known:
        blind = Blindness(since=datetime.fromisoformat(str(known["since"])), reason=str(known["reason"]))
    return Sight(served=int(known.get("served", 0)), uncounted=int(known.get("uncounted", 0)), blind=blind)
