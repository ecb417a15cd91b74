"""The page of one rollout: its state, its evidence, the orders that it admits, and its timeline."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from sluicegate.registry.ledger.reading import read_for_report
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.orders.naming import find
from sluicegate.registry.report.pulse import silence
from sluicegate.registry.report.report import Report, rollout_report
from sluicegate.registry.rollout.facts import AtOnce
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import SluiceError
from sluicegate.registry.words.roles import Role
from sluicegate.services.console import counted
from sluicegate.services.console.acts.rollouts import fact_json
from sluicegate.services.console.if_match import rollout_tag
from sluicegate.services.console.pages.effects import afterwards, offers, reachable
from sluicegate.services.console.pages.elsewhere import elsewhere
from sluicegate.services.console.pages.ordering import admitted, ordering
from sluicegate.services.console.pages.rendering import Context, Endpoint, template
from sluicegate.services.console.pages.routine import stretches
from sluicegate.services.console.ports import Desk
from sluicegate.services.console.problems import problem
from sluicegate.services.console.tokens import Caller
from sluicegate.services.report.page import page as report_page
from sluicegate.services.report.page import report_context, style_hash

JUDGED = frozenset({"approve", "jump", "promote"})
"""Orders that rest on the evidence that the page showed, so they are refused if the rollout has changed since."""


def page(desk: Desk) -> Endpoint:
    """The page of a rollout."""

    def context(request: Request) -> Context:
        rollout = find(desk.ledger, request.path_params["id"])
        caller: Caller = request.state.caller
        orders = admitted(rollout, caller)
        record = read_for_report(desk.ledger, rollout)
        report = rollout_report(record, desk.clock(), counted.evidence(desk, rollout))
        return {
            **report_context(report),
            "view": report.rollout,
            "experiment": rollout.requested.experiment,
            "steps_planned": rollout.plan.steps,
            "baked_at": _baked_at(rollout),
            "happened": stretches(record.entries, report.timeline),
            "facts": [fact_json(entry) for entry in record.entries],
            "acts": offers(rollout, orders, needs_person=report.rollout.needs_person),
            "silence": _silence(desk, report),
            "refused": request.query_params.get("refused"),
            "elsewhere": elsewhere(desk, rollout) | _logs(rollout, caller),
            "afterwards": _afterwards(desk, rollout),
            "followed_by": _followed_by(desk, rollout),
            "tag": rollout_tag(rollout.id, rollout.seq),
            "key": secrets.token_urlsafe(12),
            "step": rollout.step + 1,
            "reachable": reachable(rollout) if "jump" in orders else (),
        }

    return template(desk, "rollout.html", context)


def _silence(desk: Desk, report: Report) -> str | None:
    """That requests to the model have stopped, if the rollout waits for them."""
    view = report.rollout
    if view.ending is not None or report.unread is not None:
        return None
    return silence(view, counted.pulses(desk, [view.model]).get(view.model))


def _logs(rollout: Rollout, caller: Caller) -> dict[str, str]:
    """The link to its logs, if the caller may read them."""
    return {"Logs": f"/rollouts/{quote(rollout.id)}/logs"} if caller.role >= Role.OPERATOR else {}


def _baked_at(rollout: Rollout) -> datetime | None:
    """When the former stable build may be stopped; None if that is not known yet, or after a rollback."""
    if rollout.full_at is None or rollout.requested.strategy == AtOnce.ROLLBACK:
        return None
    return rollout.full_at + timedelta(seconds=rollout.plan.bake)


def _afterwards(desk: Desk, rollout: Rollout) -> str | None:
    if not rollout.is_ended:
        return None
    of_model = desk.ledger.current(rollout.requested.model)
    return afterwards(rollout, [each for each in of_model if each.target == rollout.target])


def _followed_by(desk: Desk, rollout: Rollout) -> Rollout | None:
    """The canary that a shadow's passing gates started."""
    if not rollout.is_shadow:
        return None
    later = desk.ledger.rollouts(Selection(model=rollout.requested.model, follows=rollout.id))
    return next(iter(later), None)


def order(desk: Desk) -> Endpoint:
    """Carry out an order from the form of a rollout, then show the rollout that results."""
    return ordering(desk, "/rollouts", JUDGED, lambda view: f"/rollouts/{quote(view['id'])}")


def whole_report(desk: Desk) -> Endpoint:
    """The report as a page that can be saved and sent. Its styles are inline; its policy admits nothing else."""

    async def endpoint(request: Request) -> Response:
        def make() -> str:
            return report_page(counted.report(desk, find(desk.ledger, request.path_params["id"])))

        try:
            html = await run_in_threadpool(make)
        except SluiceError as error:
            return problem(error)
        policy = f"default-src 'none'; style-src '{style_hash()}'; frame-ancestors 'none'"
        return HTMLResponse(html, headers={"content-security-policy": policy})

    return endpoint
