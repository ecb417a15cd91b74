"""The act on a rollout's report: what, when, why and on what evidence."""

from __future__ import annotations

from registry import orders
from registry.report import report
from services.console.acts.asked import Answer, Asked, Body, Operation, Role
from services.console.ports import Desk


class ReportActs:
    """Handlers; a report is made from the ledger when it is asked for."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def show(self, asked: Asked, _: Body) -> Answer:
        desk = self._desk
        rollout = orders.find(desk.ledger, asked.path["id"])
        found = report(desk.ledger, rollout, desk.clock(), desk.evidence(rollout))
        if asked.query.get("html") != "1":
            return 200, {"report": found.as_json()}
        from registry.report_page import page

        return 200, {"report": found.as_json(), "html": page(found)}


def operations(desk: Desk) -> tuple[Operation, ...]:
    """What can be asked about reports."""
    return (
        Operation(
            method="GET", path="/api/v1/rollouts/{id}/report", role=Role.VIEWER, act=ReportActs(desk).show,
            summary="Its report: steps, gates with every look, exposures, timeline.",
            query={"html": "1: with the page as HTML."}, gives={200: "`report`, and `html` where it was asked for."},
        ),
    )  # fmt: skip
