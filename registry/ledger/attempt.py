"""Attempt: which run drives a rollout, as far as known. A note next to the facts: nothing depends on it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sluicegate.registry.ledger.notes import Note
from sluicegate.registry.ledger.port import Ledger


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """The last run that drove a rollout, or was created to drive it."""

    number: int
    run: str
    at: datetime
    stopped: bool = False
    """Whether somebody cancelled it and the rollout was paused because of that."""


def last_attempt(ledger: Ledger, rollout: str) -> Attempt | None:
    """The last known run of a rollout."""
    return _note(rollout).read(ledger)


def note(ledger: Ledger, rollout: str, attempt: Attempt) -> None:
    """Store an attempt in place of the previous one."""
    _note(rollout).keep(ledger, attempt)


def note_run(ledger: Ledger, rollout: str, run: str, now: datetime) -> None:
    """Store a run that drives a rollout but was not created for it, such as one started in Prefect's UI."""
    last = last_attempt(ledger, rollout)
    if last is None or last.run != run:
        note(ledger, rollout, Attempt(number=last.number if last else 0, run=run, at=now))


def _note(rollout: str) -> Note[Attempt]:
    return Note(f"driver:{rollout}", Attempt)
