"""The note of how far a launch is, beside the facts: the driver and the keeper write it, who shows reads."""

from __future__ import annotations

from datetime import datetime

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.words.launching import Reached, Stage, with_stage


def reached(ledger: Ledger, rollout: str) -> tuple[Reached, ...]:
    """The stages of a launch that are known."""
    kept = (ledger.recall(_key(rollout)) or {}).items()
    return tuple(Reached(stage=Stage[name], at=datetime.fromisoformat(str(at))) for name, at in kept)


def note_stage(ledger: Ledger, rollout: str, stage: Stage, now: datetime) -> None:
    """Note that a launch is at this stage."""
    stages = with_stage(reached(ledger, rollout), stage, now)
    ledger.remember(_key(rollout), {each.stage.name: each.at.isoformat() for each in stages})


def _key(rollout: str) -> str:
    return f"launch:{rollout}"
