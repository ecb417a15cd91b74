"""Happenings: facts as the outside is told of them, Prefect's automations and people alike. Pure."""

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


def happening(place: int, entries: Sequence[Entry]) -> Happening:
    """What the last of these facts tells, at its place in the feed; they are a rollout's from its first on."""
    weight_before, state, last = 0, begin(entries[0]), entries[-1]
    for entry in entries[1:]:
        weight_before, state = state.weight, advance(state, entry)
    id_ = str(uuid.uuid5(_NAMESPACE, f"{last.rollout}/{last.seq}/{last.at.isoformat()}"))
    told_as = moment(last, weight_before, state.weight, is_shadow=state.is_shadow)
    return _happening(place, id_, name_of(type(last.fact)), state, severity(last.fact), told_as)


def waits_for_person(record: RolloutRecord, now: datetime, requests: tuple[int, int] | None) -> Happening | None:
    """That a step waits for a person, which is no fact: nobody did anything. None when it does not."""
    rollout, decision = record.rollout, next_decision(record, now, requests)
    if decision is None or not decision.person:
        return None
    weight = rollout.weight / 100
    what = "the confirmation" if rollout.phase is Phase.CONFIRMING else f"step {rollout.step + 1}"
    said = Moment(
        seq=rollout.seq, at=now, fact="WaitsForPerson", text=f"{what} waits for a person",
        actor="policy", why=decision.reason, before=weight, after=weight, tone="wait",
    )  # fmt: skip
    name = f"{rollout.id}/waits/{what if rollout.promoted_at else rollout.step}/{rollout.resumed_at}"
    return _happening(0, str(uuid.uuid5(_NAMESPACE, name)), "waits-for-person", rollout, Severity.WARNING, said)


def severity(fact: Fact) -> Severity:
    """How much a fact matters."""
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
    """The name under which a kind of fact is told, such as step-entered."""
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
