"""The keeper's notes, for whoever judges or shows: its latest observations, and what it cannot do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sluicegate.registry.ledger.notes import Note
from sluicegate.registry.ledger.port import Notes
from sluicegate.registry.words.gateways import GatewayState, GatewayStates
from sluicegate.registry.words.launching import Reached, Stage, with_stage
from sluicegate.registry.words.obstacle import Undriven
from sluicegate.registry.words.readiness import Readiness, Unready
from sluicegate.registry.words.sight import Blindness, Listener, Sight, Sights

_SIGHTS = Note("sights", Sights)
_GATEWAYS = Note("gateways", GatewayStates)
_READINESS = Note("readiness", Readiness)
_UNTENDED = Note("untended", dict[str, Blindness])
_UNDRIVEN = Note("undriven", dict[str, Undriven])
"""One note for all rollouts, so that a keeper's pass needs one read however many there are."""


def note_sights(notes: Notes, sights: Mapping[Listener, Sight], now: datetime) -> None:
    """Store how many of each listener's requests are counted."""
    _SIGHTS.keep(notes, Sights(noted_at=now, noted=sights))


def sights(notes: Notes) -> Sights:
    """How many requests are counted, and which rollouts cannot be judged."""
    noted = _SIGHTS.read(notes) or Sights()
    return Sights(noted_at=noted.noted_at, noted=noted.noted, unjudged=untended(notes))


def note_gateways(notes: Notes, states: Sequence[GatewayState], now: datetime) -> None:
    """Store what each gateway serves."""
    _GATEWAYS.keep(notes, GatewayStates(noted_at=now, noted=states))


def gateway_states(notes: Notes) -> GatewayStates:
    """What each gateway serves."""
    return _GATEWAYS.read(notes) or GatewayStates()


def note_readiness(notes: Notes, unready: Sequence[Unready], now: datetime) -> None:
    """Store which builds have no ready service."""
    _READINESS.keep(notes, Readiness(noted_at=now, noted=unready))


def readiness(notes: Notes) -> Readiness:
    """Which builds of rollouts in progress have no ready service."""
    return _READINESS.read(notes) or Readiness()


def note_untended(notes: Notes, reasons: Mapping[str, str], now: datetime) -> None:
    """Store why each of these rollouts cannot be judged, since the first of an unbroken series of reasons."""
    before = untended(notes)
    after = {
        rollout: Blindness(
            since=before[rollout].since if rollout in before else now, reason=f"the keeper cannot judge it: {why}"
        )
        for rollout, why in reasons.items()
    }
    if after != before:
        _UNTENDED.keep(notes, after)


def untended(notes: Notes) -> dict[str, Blindness]:
    """Why rollouts cannot be judged, by rollout. One that fails does not prevent others from being judged."""
    return _UNTENDED.read(notes) or {}


def note_undriven(notes: Notes, undriven: Mapping[str, Undriven]) -> None:
    """Store which rollouts have no working driver."""
    _UNDRIVEN.keep(notes, dict(undriven))


def all_undriven(notes: Notes) -> dict[str, Undriven]:
    """The rollouts without a working driver, with the reason of each."""
    return _UNDRIVEN.read(notes) or {}


def note_stage(notes: Notes, rollout: str, stage: Stage, now: datetime) -> None:
    """Store that a launch has reached this stage. The driver does so too."""
    stages = with_stage(reached(notes, rollout), stage, now)
    _launch(rollout).keep(notes, {each.stage: each.at for each in stages})


def reached(notes: Notes, rollout: str) -> tuple[Reached, ...]:
    """The known stages of a launch."""
    return tuple(Reached(stage=stage, at=at) for stage, at in (_launch(rollout).read(notes) or {}).items())


def note_delay(notes: Notes, rollout: str, why: str) -> None:
    """Store why the service of a launch is not ready yet; empty once nothing holds it up."""
    _delay(rollout).keep(notes, why)


def delay(notes: Notes, rollout: str) -> str:
    """Why the service of a launch is not ready yet; empty if not known."""
    return _delay(rollout).read(notes) or ""


def _delay(rollout: str) -> Note[str]:
    return Note(f"launch-delay:{rollout}", str)


def _launch(rollout: str) -> Note[dict[Stage, datetime]]:
    return Note(f"launch:{rollout}", dict[Stage, datetime])
