"""Which rollouts need generated requests now. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sluicegate.registry.rollout.freeze import Freeze, freeze_for
from sluicegate.registry.rollout.rollout import Phase, Rollout


def generating(rollouts: Iterable[Rollout], freezes: Iterable[Freeze], now: datetime) -> tuple[Rollout, ...]:
    """Rollouts whose plan asks for generated requests and whose candidate has traffic, without those that are paused,
    frozen, promoted or ended."""
    frozen = tuple(freezes)
    return tuple(
        each
        for each in rollouts
        if each.plan.generate is not None
        and each.phase is Phase.RUNNING
        and each.is_tried
        and each.is_judged
        and not each.is_aside
        and freeze_for(frozen, each, now) is None
    )
