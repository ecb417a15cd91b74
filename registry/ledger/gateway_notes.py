"""The note of what each gateway serves, beside the facts: the keeper writes it all the time, who shows it reads it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sluicegate.registry.ledger.port import Notes
from sluicegate.registry.words.gateways import Confirmation, GatewayState, GatewayStates

_KEY = "gateways"


def note_gateways(notes: Notes, states: Sequence[GatewayState], now: datetime) -> None:
    """Note these in place of those before."""
    notes.remember(_KEY, {"at": now.isoformat(), "gateways": [_note(each) for each in states]})


def gateway_states(notes: Notes) -> GatewayStates:
    """What is noted."""
    note = notes.recall(_KEY)
    if note is None:
        return GatewayStates()
    rows = note["gateways"]
    noted = [_read(each) for each in rows] if isinstance(rows, list) else []
    return GatewayStates(noted_at=datetime.fromisoformat(str(note["at"])), noted=noted)


def _note(state: GatewayState) -> dict[str, object]:
    said: dict[str, object] = {"name": state.name, "confirmation": state.confirmation.value, "why": state.why}
    return said | {"version": state.version, "since": state.since.isoformat()}


def _read(note: dict[str, object]) -> GatewayState:
    version = note["version"]
    return GatewayState(
        name=str(note["name"]),
        confirmation=Confirmation(str(note["confirmation"])),
        version=None if version is None else str(version),
        since=datetime.fromisoformat(str(note["since"])),
        why=str(note["why"]),
    )
