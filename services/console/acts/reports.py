"""Acts on a rollout's report, its explanation, and a shadow's pairs of answers."""

from __future__ import annotations

from sluicegate.registry.orders.naming import find
from sluicegate.registry.report.explanation import explanation
from sluicegate.registry.report.report import Report
from sluicegate.registry.words.errors import Refused
from sluicegate.registry.words.roles import Role
from sluicegate.services.console import counted
from sluicegate.services.console.operations import Answer, Body, Operation, Request
from sluicegate.services.console.ports import Desk


class ReportActs:
    """Handlers; each call builds the report from the ledger."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def show(self, request: Request, _: Body) -> Answer:
        report = self._report(request)
        if request.query.get("html") != "1":
            return 200, {"report": report}
        from sluicegate.services.report.page import page

        return 200, {"report": report, "html": page(report)}

    def explain(self, request: Request, _: Body) -> Answer:
        return 200, explanation(self._report(request))

    def _report(self, request: Request) -> Report:
        return counted.report(self._desk, find(self._desk.ledger, request.path["id"]))

    def shadow(self, request: Request, _: Body) -> Answer:
        desk = self._desk
        rollout = find(desk.ledger, request.path["id"])
        shadow = desk.in_time(lambda: desk.evidence(rollout)).shadow
        if shadow is None:
            raise Refused(
                f"rollout {rollout.id} is not a shadow, so it has no pairs of answers.",
                fix=f"see the evidence of this rollout: sluice rollout show {rollout.id}",
            )
        return 200, shadow


def operations(desk: Desk) -> tuple[Operation, ...]:
    """The operations on reports."""
    acts = ReportActs(desk)
    return (
        Operation(
            method="GET", path="/api/v1/rollouts/{id}/shadow", role=Role.VIEWER, act=acts.shadow,
            summary="A shadow's pairs of answers: coverage, differences, slices, the worst disagreements.",
        ),
        Operation(
            method="GET", path="/api/v1/rollouts/{id}/report", role=Role.VIEWER, act=acts.show,
            summary="Its report: steps, gates with every look, exposures, timeline.",
            query={"html": "1: with the page as HTML."}, gives={200: "`report`, and `html` if requested."},
        ),
        Operation(
            method="GET", path="/api/v1/rollouts/{id}/explanation", role=Role.VIEWER, act=acts.explain,
            summary="Why it is in this state: each gate's inputs, interval, threshold, and what would change it.",
            gives={200: "`state`, `why`, `next`, and `gates` with the reasons of each."},
        ),
    )  # fmt: skip
