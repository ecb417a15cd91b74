"""Which rollouts want generated requests now. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sluicegate.registry.rollout.freeze import Freeze, holding
from sluicegate.registry.rollout.rollout import Phase, Rollout


def generating(rollouts: Iterable[Rollout], freezes: Iterable[Freeze], now: datetime) -> tuple[Rollout, ...]:
    """Those whose plan asks for it and whose candidate has requests: not while they are paused, nor held by a freeze,
    nor after their promotion or end."""
    frozen = tuple(freezes)
    return tuple(
        each
        for each in rollouts
        if each.plan.generate is not None
        and each.phase is Phase.RUNNING
        and each.is_tried
        and each.is_judged
        and not each.is_aside
        and holding(frozen, each, now) is None
    )
