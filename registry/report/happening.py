"""Happenings: facts as the outside is told of them, Prefect's automations and people alike. Pure."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from sluicegate.registry.ledger.port import Fed, Ledger
from sluicegate.registry.report.timeline import Moment, moment
from sluicegate.registry.report.view import held
from sluicegate.registry.rollout.facts import (
    Aborted,
    Approved,
    Checked,
    Concluded,
    Entry,
    Established,
    Fact,
    Failed,
    FreezeOverridden,
    Judged,
    Paused,
    Promoted,
    Requested,
    Resumed,
    StepEntered,
    Superseded,
    Undeployed,
)
from sluicegate.registry.rollout.rollout import Rollout, advance, begin


class Severity(IntEnum):
    """How much a fact matters to somebody who does not watch."""

    ROUTINE = 0
    """Steps of the machinery, such as Packed, Ready and Observed."""
    INFO = 1
    """The rollout goes its way: asked for, a step entered, promoted, concluded."""
    WARNING = 2
    """It does not: paused, superseded, taken back by a person, data that cannot be judged."""
    CRITICAL = 3
    """A gate took it back, or it could not be launched."""


@dataclass(frozen=True, kw_only=True)
class Happening:
    """A fact with what is needed to tell of it."""

    place: int
    """In the ledger's feed."""
    id: str
    """A UUID that this fact always has: whoever is told twice can tell."""
    name: str
    """Such as step-entered."""
    rollout: str
    model: str
    variation: str
    version: str
    strategy: str
    stable: str | None
    phase: str
    ending: str | None
    severity: Severity
    moment: Moment

    def as_json(self) -> dict[str, object]:
        """What is told, as JSON values."""
        said = self.moment
        return {
            "id": self.id,
            "what": self.name,
            "severity": self.severity.name.lower(),
            "rollout": self.rollout,
            "model": self.model,
            "variation": self.variation,
            "version": self.version,
            "strategy": self.strategy,
            "stable": self.stable,
            "phase": self.phase,
            "ending": self.ending,
            "seq": said.seq,
            "at": said.at.isoformat(),
            "text": said.text,
            "actor": said.actor,
            "reason": said.why,
            "weight_before": said.before,
            "weight": said.after,
        }


def happenings(fed: Iterable[Fed], entries: Callable[[str], Sequence[Entry]]) -> tuple[Happening, ...]:
    """What a part of the feed tells; `entries` are the facts of a rollout."""
    return tuple(_happening(each, entries(each.entry.rollout)) for each in fed)


def waiting(ledger: Ledger, rollout: Rollout, now: datetime, requests: tuple[int, int] | None) -> Happening | None:
    """That a step waits for a person, which is no fact: nobody did anything. None when it does not."""
    decision = held(ledger, rollout, now, requests)
    if decision is None or not decision.person:
        return None
    weight = rollout.weight / 100
    said = Moment(
        seq=rollout.seq, at=now, fact="WaitsForPerson", text=f"step {rollout.step + 1} waits for a person",
        actor="policy", why=decision.reason, before=weight, after=weight, tone="wait",
    )  # fmt: skip
    name = f"{rollout.id}/waits/{rollout.step}/{rollout.resumed_at}"
    return _told(0, str(uuid.uuid5(_NAMESPACE, name)), "waits-for-person", rollout, Severity.WARNING, said)


def severity(fact: Fact) -> Severity:
    """How much a fact matters."""
    match fact:
        case Failed() | Aborted(actor="policy"):
            return Severity.CRITICAL
        case (
            Aborted()
            | Paused()
            | Superseded()
            | Undeployed()
            | FreezeOverridden()
            | Judged(answer="no_data" | "fail")
            | Checked(answer="no" | "none")
        ):
            return Severity.WARNING
        case Requested() | StepEntered() | Resumed() | Approved() | Promoted() | Established() | Concluded():
            return Severity.INFO
        case _:
            return Severity.ROUTINE


def name_of(fact: type[Fact]) -> str:
    """The name under which a kind of fact is told, such as step-entered."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", fact.__name__).lower()


def _happening(fed: Fed, entries: Sequence[Entry]) -> Happening:
    entry, before, after = fed.entry, 0, begin(entries[0])
    for each in entries[1 : fed.entry.seq + 1]:
        before, after = after.weight, advance(after, each)
    return _of(fed.place, entry, before, after)


def _of(place: int, entry: Entry, before: int, state: Rollout) -> Happening:
    known_by = str(uuid.uuid5(_NAMESPACE, f"{entry.rollout}/{entry.seq}/{entry.at.isoformat()}"))
    said, name = moment(entry, before, state.weight), name_of(type(entry.fact))
    return _told(place, known_by, name, state, severity(entry.fact), said)


def _told(place: int, known_by: str, name: str, state: Rollout, matters: Severity, said: Moment) -> Happening:
    asked = state.requested
    return Happening(
        place=place,
        id=known_by,
        name=name,
        rollout=state.id,
        model=asked.model,
        variation=asked.variation,
        version=asked.version,
        strategy=asked.strategy,
        stable=state.stable,
        phase=state.phase.value,
        ending=state.ending.value if state.ending else None,
        severity=matters,
        moment=said,
    )


_NAMESPACE = uuid.UUID("6f1f5b0e-93d5-4c59-9a0e-5d6a4f6f1c31")
