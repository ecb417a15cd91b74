"""Attempt: which run drives a rollout, as far as is known. A note beside the facts: nothing rests on it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

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
    kept = ledger.recall(_key(rollout))
    if kept is None:
        return None
    return Attempt(
        number=int(str(kept["number"])),
        run=str(kept["run"]),
        at=datetime.fromisoformat(str(kept["at"])),
        stopped=kept.get("stopped") is True,
    )


def note(ledger: Ledger, rollout: str, attempt: Attempt) -> None:
    """Remember an attempt in place of the one before."""
    kept = {"number": attempt.number, "run": attempt.run, "at": attempt.at.isoformat(), "stopped": attempt.stopped}
    ledger.remember(_key(rollout), dict(kept))


def note_run(ledger: Ledger, rollout: str, run: str, now: datetime) -> None:
    """Remember a run that drives a rollout without having been created for it, such as one from Prefect's UI."""
    last = last_attempt(ledger, rollout)
    if last is None or last.run != run:
        note(ledger, rollout, Attempt(number=last.number if last else 0, run=run, at=now))


def _key(rollout: str) -> str:
    return f"driver:{rollout}"
