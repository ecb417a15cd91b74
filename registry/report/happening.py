"""Happenings: facts in the form in which they are sent to Prefect's automations and to people. Pure."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from sluicegate.registry.report.timeline import Moment, moment
from sluicegate.registry.report.view import next_decision
from sluicegate.registry.rollout.facts import (
    Aborted,
    Approved,
    Assessed,
    AssessmentOverridden,
    Checked,
    Concluded,
    Confirmed,
    Entry,
    Established,
    Fact,
    Failed,
    FreezeOverridden,
    HookCalled,
    Judged,
    Jumped,
    Party,
    Paused,
    Promoted,
    Requested,
    Resumed,
    Scaled,
    StepEntered,
    Superseded,
    Unconfirmed,
    Undeployed,
)
from sluicegate.registry.rollout.moves import advance, begin
from sluicegate.registry.rollout.record import RolloutRecord
from sluicegate.registry.rollout.rollout import Phase, Rollout


class Severity(IntEnum):
    """How important a fact is to somebody who is not watching."""

    ROUTINE = 0
    """Routine work, such as Packed, Ready and Observed."""
    INFO = 1
    """The rollout proceeds: requested, a step entered, promoted, concluded."""
    WARNING = 2
    """It does not proceed: paused, superseded, aborted by a person, data that cannot be judged."""
    CRITICAL = 3
    """A gate aborted it, or it could not be launched."""


@dataclass(frozen=True, kw_only=True)
class Happening:
    """A fact with everything that a notification about it needs."""

    place: int
    """Its place in the ledger's feed."""
    id: str
    """A UUID that is always the same for this fact, so that receivers can recognise repeats."""
    name: str
    """The kind of fact, such as step-entered."""
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
        """The happening as JSON values."""
        described = self.moment
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
            "seq": described.seq,
            "at": described.at.isoformat(),
            "text": described.text,
            "actor": described.actor,
            "reason": described.why,
            "weight_before": described.before,
            "weight": described.after,
        }


def happening(place: int, entries: Sequence[Entry]) -> Happening:
    """The happening for the last of these facts, at its place in the feed. They are all facts of a rollout so far."""
    weight_before, state, last = 0, begin(entries[0]), entries[-1]
    for entry in entries[1:]:
        weight_before, state = state.weight, advance(state, entry)
    id_ = str(uuid.uuid5(_NAMESPACE, f"{last.rollout}/{last.seq}/{last.at.isoformat()}"))
    described = moment(last, weight_before, state.weight, is_shadow=state.is_shadow)
    return _happening(place, id_, name_of(type(last.fact)), state, severity(last.fact), described)


def waits_for_person(record: RolloutRecord, now: datetime, requests: tuple[int, int] | None) -> Happening | None:
    """The happening that a step waits for a person, which is not a fact: nobody did anything. None if it does not."""
    rollout, decision = record.rollout, next_decision(record, now, requests)
    if decision is None or not decision.person:
        return None
    weight = rollout.weight / 100
    what = "the confirmation" if rollout.phase is Phase.CONFIRMING else f"step {rollout.step + 1}"
    described = Moment(
        seq=rollout.seq, at=now, fact="WaitsForPerson", text=f"{what} waits for a person",
        actor="policy", why=decision.reason, before=weight, after=weight, tone="wait",
    )  # fmt: skip
    name = f"{rollout.id}/waits/{what if rollout.promoted_at else rollout.step}/{rollout.resumed_at}"
    return _happening(0, str(uuid.uuid5(_NAMESPACE, name)), "waits-for-person", rollout, Severity.WARNING, described)


def severity(fact: Fact) -> Severity:
    """How important a fact is."""
    match fact:
        case Failed() | Aborted(party=Party.POLICY):
            return Severity.CRITICAL
        case (
            Aborted()
            | Paused()
            | Superseded()
            | Unconfirmed()
            | Undeployed()
            | FreezeOverridden()
            | AssessmentOverridden()
            | Assessed(answer="no_data" | "undecided" | "fail")
            | Judged(answer="no_data" | "fail")
            | Checked(answer="no" | "none")
            | HookCalled(answer="given_up")
            | Jumped()
        ):
            return Severity.WARNING
        case (
            Requested()
            | StepEntered()
            | Resumed()
            | Approved()
            | Promoted()
            | Confirmed()
            | Established()
            | Concluded()
            | Scaled()
        ):
            return Severity.INFO
        case _:
            return Severity.ROUTINE


def name_of(fact: type[Fact]) -> str:
    """The name of a kind of fact in notifications, such as step-entered."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", fact.__name__).lower()


def _happening(place: int, id_: str, name: str, state: Rollout, severity: Severity, moment: Moment) -> Happening:
    requested = state.requested
    return Happening(
        place=place,
        id=id_,
        name=name,
        rollout=state.id,
        model=requested.model,
        variation=requested.variation,
        version=requested.version,
        strategy=requested.strategy,
        stable=state.stable,
        phase=state.phase.value,
        ending=state.ending.value if state.ending else None,
        severity=severity,
        moment=moment,
    )


_NAMESPACE = uuid.UUID("6f1f5b0e-93d5-4c59-9a0e-5d6a4f6f1c31")
