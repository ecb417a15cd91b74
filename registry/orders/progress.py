"""What happens without an order: queued rollouts begin, ready builds get their traffic, facts are added."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sluicegate.registry.ledger.keeper_notes import readiness
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.record import Changes, Record
from sluicegate.registry.orders import starting
from sluicegate.registry.orders.draft import Draft
from sluicegate.registry.rollout.depending import unready
from sluicegate.registry.rollout.facts import AtOnce, Established, Fact, Promoted
from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.rollout.standing import trusted


def stable(record: Record, model: str, variation: str) -> str | None:
    """The version that a target trusts now."""
    last = trusted(r for r in record.current(model) if r.requested.variation == variation)
    return last.requested.version if last is not None else None


def begin(ledger: Ledger, rollout: Rollout, now: datetime) -> Rollout:
    """Let a queued rollout take its target if that is free and the rollout is first in the queue."""
    draft = Draft(ledger, now)
    if starting.begin(draft, rollout) is rollout:
        return rollout

    def decided(record: Record) -> Changes:
        draft = Draft(record, now)
        starting.begin(draft, record.rollout(rollout.id))
        return draft.changes(rollout.id)

    ledger.commit(decided)
    return ledger.rollout(rollout.id)


def complete(ledger: Ledger, name: str, now: datetime) -> Rollout:
    """Give all traffic to a ready first build, rollback or replacement, as its actor ordered.

    Nothing is judged here, so driver or keeper does it, whichever first sees that the build is ready.
    """
    rollout = ledger.rollout(name)
    fact = _completion(rollout)
    is_waiting = fact is None or unready(rollout, readiness(ledger), now) is not None
    return rollout if fact is None or is_waiting else append(ledger, name, lambda _: fact, now)


def _completion(rollout: Rollout) -> Fact | None:
    if rollout.phase is not Phase.LAUNCHING or not rollout.ready or not rollout.is_signed:
        return None
    actor, party, cause = rollout.requested.actor, rollout.requested.party, rollout.requested.cause
    match rollout.requested.strategy:
        case AtOnce.DEPLOY:
            return Established(actor=actor, party=party, reason="the first build is ready")
        case AtOnce.ROLLBACK:
            return Promoted(actor=actor, party=party, reason=f"rolled back, {cause}", override=True, verdicts={})
        case AtOnce.REPLACE:
            return Promoted(
                actor=actor, party=party, reason=f"replaced the build at once, {cause}", override=True, verdicts={}
            )
        case _:
            return None


def append(ledger: Ledger, name: str, fact: Callable[[Rollout], Fact], now: datetime) -> Rollout:
    """Add a fact to the rollout as it is by now. Raises IllegalMove if it no longer allows the fact."""

    def decided(record: Record) -> Changes:
        draft = Draft(record, now)
        draft.append(name, fact(record.rollout(name)))
        return draft.changes(name)

    ledger.commit(decided)
    return ledger.rollout(name)
