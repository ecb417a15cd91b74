"""The note of the rollouts for which no driver can be made, beside the facts: the keeper writes it, who shows reads."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.words.obstacle import Hindrance, Obstacle, Undriven

_KEY = "undriven"
"""One note for all rollouts, so that a look costs one read however many there are."""


def all_undriven(ledger: Ledger) -> dict[str, Undriven]:
    """What is noted, by rollout."""
    notes = (ledger.recall(_KEY) or {}).items()
    known = tuple(Obstacle)
    return {rollout: _read(note) for rollout, note in notes if isinstance(note, dict) and note.get("obstacle") in known}


def note_undriven(ledger: Ledger, undriven: Mapping[str, Undriven]) -> None:
    """Note these in place of those before."""
    ledger.remember(_KEY, {rollout: _note(each) for rollout, each in undriven.items()})


def _note(undriven: Undriven) -> dict[str, str]:
    hindrance = undriven.hindrance
    return {"obstacle": hindrance.obstacle.value, "detail": hindrance.detail, "since": undriven.since.isoformat()}


def _read(note: Mapping[str, str]) -> Undriven:
    hindrance = Hindrance(obstacle=Obstacle(note["obstacle"]), detail=note["detail"])
    return Undriven(hindrance=hindrance, since=datetime.fromisoformat(note["since"]))
