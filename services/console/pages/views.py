"""Views of rollouts, and of the builds that answer each audience, as pages show them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby

from sluicegate.registry.ledger.reading import Common, read_for_policy, read_for_views, with_launch
from sluicegate.registry.report.overview import Served
from sluicegate.registry.report.view import RolloutView, held_up, next_decision, rollout_view
from sluicegate.registry.rollout.record import RolloutRecord
from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.words.launching import HELD_UP
from sluicegate.registry.words.metric import Arm
from sluicegate.services.console import counted
from sluicegate.services.console.ports import Desk

_PLENTY = (0, sys.maxsize)


def lines(desk: Desk, rollouts: Sequence[Rollout], common: Common) -> list[RolloutView]:
    """The views of rollouts for the lines of a list. For those that have ended, requests are not counted."""
    ended = [read_for_policy(desk.ledger, each, common) for each in rollouts if each.is_ended]
    going_on = [each for each in rollouts if not each.is_ended]
    requests = counted.requests(desk, going_on)
    records = {record.rollout.id: record for record in (*ended, *read_for_views(desk.ledger, going_on, common))}
    return [rollout_view(records[each.id], desk.clock(), requests.get(each.id)) for each in rollouts]


def waiting(desk: Desk, rollouts: Sequence[Rollout], common: Common) -> list[RolloutView]:
    """The views of the rollouts that wait for a person, or that something has held up for long.

    Requests are counted only if the answer depends on them, so that this is cheap for all rollouts in progress.
    """
    now = desk.clock()
    records = [_with_long_launch(desk, read_for_policy(desk.ledger, each, common), now) for each in rollouts]
    doubtful = [record.rollout for record in records if _may_need_person(record, now)]
    requests = counted.requests(desk, doubtful)
    views = (
        rollout_view(record, now, requests.get(record.rollout.id))
        for record in records
        if record.rollout.phase is Phase.PAUSED or record.rollout in doubtful or held_up(record, now)
    )
    return [view for view in views if view.needs_person or view.held_up]


def _with_long_launch(desk: Desk, record: RolloutRecord, now: datetime) -> RolloutRecord:
    """The record, with the stages of its launch if that has been going on for long."""
    began = record.rollout.began_at
    return with_launch(desk.ledger, record) if began is not None and now - began >= HELD_UP else record


def _may_need_person(record: RolloutRecord, now: datetime) -> bool:
    """Whether a person has to act, given enough requests. False for paused ones, whose requests need not be counted."""
    if record.rollout.phase is Phase.PAUSED:
        return False
    at_most = next_decision(record, now, _PLENTY)
    return at_most is not None and at_most.person


def by_audience(served: Sequence[Served]) -> list[tuple[str, list[list[Served]]]]:
    """The models, each with the builds that serve each of its audiences, stable first."""
    return [
        (model, [_stable_first(group) for _, group in groupby(rows, key=lambda row: row.audience)])
        for model, rows in groupby(served, key=lambda row: row.model)
    ]


def _stable_first(rows: Iterable[Served]) -> list[Served]:
    return sorted(rows, key=lambda row: row.arm != Arm.STABLE)
