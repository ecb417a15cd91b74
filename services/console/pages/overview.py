"""Overview: what needs a person, what is in progress, and which builds answer which audience."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import timedelta

from starlette.requests import Request

from sluicegate.registry.ledger.reading import Common
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.orders.proposals import proposals
from sluicegate.registry.report.view import RolloutView
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.roles import Role
from sluicegate.services.console import counted
from sluicegate.services.console.acts.proposals import proposal_json
from sluicegate.services.console.attention import silences
from sluicegate.services.console.fleet import stretch
from sluicegate.services.console.pages.effects import Offer, offers
from sluicegate.services.console.pages.experiments import decisions_with_offers
from sluicegate.services.console.pages.ordering import admitted
from sluicegate.services.console.pages.rendering import Context, Endpoint, template
from sluicegate.services.console.pages.trends import Trends, drawn_pulses
from sluicegate.services.console.pages.views import by_audience, lines, waiting
from sluicegate.services.console.ports import Desk
from sluicegate.services.console.tokens import Caller

MODELS = 25
"""Models on one page."""
ROLLOUTS = 25
"""Rollouts that are listed of those in progress, and of those that need a person."""
LATELY = timedelta(days=1)
ENDED = 10
"""Recently ended rollouts that are listed."""


def page(desk: Desk) -> Endpoint:
    """The first page."""

    trends = Trends()

    def context(request: Request) -> Context:
        caller: Caller = request.state.caller
        common = Common(desk.ledger)
        under_way = desk.ledger.rollouts(Selection(is_ended=False))[::-1]
        ended = desk.ledger.rollouts(Selection(ended_since=desk.clock() - LATELY, newest=ENDED))
        fleet = stretch(desk.ledger, after=request.query_params.get("after"), limit=MODELS)
        needing = waiting(desk, under_way, common)
        names = {view.id for view in needing[:ROLLOUTS]} | {rollout.id for rollout in under_way[:ROLLOUTS]}
        served, unread = counted.overview(desk, fleet.models)
        listed = lines(desk, under_way[:ROLLOUTS], common)
        of_views = {rollout.requested.model for rollout in under_way if rollout.id in names}
        pulses = counted.pulses(desk, {*fleet.models, *of_views}) if unread is None else {}
        return {
            "unread": unread,
            "trends": trends.read(desk.ledger, [rollout for rollout in under_way if rollout.id in names]),
            "fleet": fleet,
            "models": by_audience(served),
            "pulses": drawn_pulses(pulses),
            "silences": silences([*needing, *listed], pulses),
            "waiting": needing[:ROLLOUTS],
            "waiting_total": len(needing),
            "waiting_ids": {view.id for view in needing},
            "offers": _offers(needing[:ROLLOUTS], under_way, caller),
            "decisions": decisions_with_offers(desk, caller),
            "proposals": [proposal_json(each) for each in proposals(desk.ledger)[::-1]],
            "may_approve": caller.role >= Role.APPROVER,
            "refused": request.query_params.get("refused"),
            "key": secrets.token_urlsafe(12),
            "under_way": listed,
            "under_way_total": len(under_way),
            "ended": lines(desk, ended[::-1], common),
        }

    return template(desk, "overview.html", context)


def _offers(views: Iterable[RolloutView], rollouts: Iterable[Rollout], caller: Caller) -> dict[str, tuple[Offer, ...]]:
    """What the caller may do about each of these rollouts: go on, or abort."""
    by_id = {rollout.id: rollout for rollout in rollouts}
    every = {
        view.id: offers(by_id[view.id], admitted(by_id[view.id], caller), needs_person=view.needs_person)
        for view in views
    }
    return {
        name: tuple(each for each in its if each.is_primary or each.order == "abort") for name, its in every.items()
    }
