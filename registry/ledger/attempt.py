"""Attempt: which run drives a rollout, as far as is known. A note beside the facts: nothing rests on it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sluicegate.registry.ledger.notes import Note
from sluicegate.registry.ledger.port import Ledger


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """The last run that drove a rollout, or was created to."""

    number: int
    run: str
    at: datetime
    stopped: bool = False
    """Whether somebody cancelled it and the rollout was paused for that."""


def last_attempt(ledger: Ledger, rollout: str) -> Attempt | None:
    """The last run of a rollout that is known."""
    return _note(rollout).read(ledger)


def note(ledger: Ledger, rollout: str, attempt: Attempt) -> None:
    """Remember an attempt in place of the one before."""
    _note(rollout).keep(ledger, attempt)


def note_run(ledger: Ledger, rollout: str, run: str, now: datetime) -> None:
    """Remember a run that drives a rollout without having been created for it, such as one from Prefect's UI."""
    last = last_attempt(ledger, rollout)
    if last is None or last.run != run:
        note(ledger, rollout, Attempt(number=last.number if last else 0, run=run, at=now))


def _note(rollout: str) -> Note[Attempt]:
    return Note(f"driver:{rollout}", Attempt)
