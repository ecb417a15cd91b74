"""Overview: what serves whom, and what needs a person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby

from starlette.requests import Request

from sluicegate.registry.report.overview import Served
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.metric import Arm
from sluicegate.services.console.fleet import stretch
from sluicegate.services.console.pages.rendering import Context, Endpoint, template
from sluicegate.services.console.pages.views import line, waiting
from sluicegate.services.console.ports import Desk

MODELS = 25
"""Models on one page."""
ROLLOUTS = 25
"""Rollouts under way that are listed."""
LATELY = timedelta(days=1)
ENDED = 10
"""Rollouts that ended lately that are listed."""


def page(desk: Desk) -> Endpoint:
    """The first page."""

    def context(request: Request) -> Context:
        rollouts = desk.ledger.rollouts()
        under_way = [rollout for rollout in reversed(rollouts) if not rollout.is_ended]
        ended = [rollout for rollout in reversed(rollouts) if _ended_since(rollout, desk.clock() - LATELY)]
        fleet = stretch(desk.ledger, after=request.query_params.get("after"), limit=MODELS)
        return {
            "fleet": fleet,
            "models": _by_audience(desk.overview(fleet.models)),
            "waiting": [view for rollout in under_way if (view := waiting(desk, rollout)) is not None],
            "under_way": [line(desk, rollout) for rollout in under_way[:ROLLOUTS]],
            "under_way_total": len(under_way),
            "ended": [line(desk, rollout) for rollout in ended[:ENDED]],
        }

    return template(desk, "overview.html", context)


def _ended_since(rollout: Rollout, since: datetime) -> bool:
    return rollout.ended_at is not None and rollout.ended_at >= since


def _by_audience(served: Sequence[Served]) -> list[tuple[str, list[list[Served]]]]:
    """The models, each with what serves each of its audiences."""
    return [
        (model, [_stable_first(group) for _, group in groupby(rows, key=lambda row: row.audience)])
        for model, rows in groupby(served, key=lambda row: row.model)
    ]


def _stable_first(rows: Iterable[Served]) -> list[Served]:
    return sorted(rows, key=lambda row: row.arm != Arm.STABLE)
